"""The one way vclaw runs other programs: list argv, no stdin, child always reaped."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from vclaw.errors import UsageError, VclawError

TAIL_LINES = 12
"""Lines of a failed program's output that its error shows."""

PACKAGES = {
    "qemu-img": ("qemu-utils", "qemu"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu"),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu"),
    "mmdebstrap": ("mmdebstrap", ""),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "mksquashfs": ("squashfs-tools", "squashfs"),
    "ssh": ("openssh-client", "openssh"),
    "ssh-keygen": ("openssh-client", "openssh"),
}
"""Program -> its package on Debian and Ubuntu, and with Homebrew ("" where there is none)."""


def need(program: str, purpose: str) -> Path:
    """The path of a program on PATH.

    Raises UsageError that names its package. Folders that distributions leave out of users'
    PATH (mke2fs is in /usr/sbin) are searched too.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found:
        return Path(found)
    debian, brew = PACKAGES.get(program, (program, program))
    hint = f"On Debian or Ubuntu: sudo apt-get install {debian}."
    hint += f" On macOS: brew install {brew}." if brew else " It is not available on macOS."
    raise UsageError(f"{program} is not installed, and {purpose} needs it.", hint)


def run(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
    what: str = "",
) -> str:
    """Run a program to its end and return what it wrote to stdout and stderr, as text.

    With `log`, output goes to that file as it comes, and the returned text is empty. A program
    that fails raises VclawError with its exit status, its command and the end of its output.
    `timeout` is in seconds; when it is over the program is killed. `what` names the work in
    the error; the program's name by default.
    """
    words = [str(word) for word in argv]
    name = what or Path(words[0]).name
    output = subprocess.PIPE if log is None else log.open("ab")
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            timeout=timeout,
            pass_fds=pass_fds,
            check=False,
        )
    except FileNotFoundError:
        raise VclawError(f"{name} failed: {words[0]} is not there.", "Install it and try again.") from None
    except subprocess.TimeoutExpired:
        raise VclawError(f"{name} did not end within {timeout:g} s.", "Try again.") from None
    finally:
        if not isinstance(output, int):
            output.close()
    text = (done.stdout or b"").decode(errors="replace")
    if done.returncode != 0:
        shown = text if log is None else log.read_text(errors="replace")
        raise VclawError(
            f"{name} failed with exit status {done.returncode}.",
            "Command: " + " ".join(words) + "\n" + tail(shown),
        )
    return text


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text, blank ones left out."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])
