"""The one way vclaw runs other programs: list argv, no stdin, no child left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vclaw.errors import UsageError, VclawError

TAIL_LINES = 12
"""Lines of a failed program's output that its error shows."""

STOP_SECONDS = 15.0
"""How long an interrupted program of `stream` gets to clean up after itself."""

PACKAGES = {
    "qemu-img": ("qemu-utils", "qemu"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu"),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu"),
    "mmdebstrap": ("mmdebstrap", ""),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "gpgv": ("gpgv", "gnupg"),
    "fakeroot": ("fakeroot", ""),
    "newuidmap": ("uidmap", ""),
    "mksquashfs": ("squashfs-tools", "squashfs"),
    "bwrap": ("bubblewrap", ""),
    "pasta": ("passt", ""),
    "nft": ("nftables", ""),
    "socat": ("socat", ""),
    "nsenter": ("util-linux", ""),
    "setpriv": ("util-linux", ""),
    "ssh": ("openssh-client", "openssh"),
    "ssh-keygen": ("openssh-client", "openssh"),
}
"""Program -> its package on Debian and Ubuntu, and with Homebrew ("" where there is none)."""


def need(program: str, purpose: str) -> Path:
    """The path of a program on PATH.

    Raises UsageError that names its package. Folders that distributions leave out of users'
    PATH (mke2fs is in /usr/sbin) are searched too.
    """
    import shutil

    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found:
        return Path(found)
    debian, brew = PACKAGES.get(program, (program, program))
    hint = f"On Debian or Ubuntu: sudo apt-get install {debian}."
    hint += f" On macOS: brew install {brew}." if brew else " It is not available on macOS."
    raise UsageError(f"{program} is not installed, and {purpose} needs it.", hint)


def _end_with_parent(signum: int) -> Callable[[], None] | None:
    """What a child does before its program: it asks for `signum` for when this process is gone.

    So a vclaw that is killed leaves no program at work (prctl(2), PR_SET_PDEATHSIG). None where
    the system has no such thing.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(1, signum)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)

    return ask


def run(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
    what: str = "",
    success: int = 0,
) -> str:
    """Run a program to its end and return what it wrote to stdout and stderr, as text.

    With `log`, output goes to that file as it comes, and the returned text is empty. A program
    that fails raises VclawError with its exit status, its command and the end of its output.
    `timeout` is in seconds; when it is over the program is killed. `what` names the work in
    the error; the program's name by default. `success` is the exit status of a good end.
    """
    words = [str(word) for word in argv]
    name = what or Path(words[0]).name
    with contextlib.ExitStack() as around:
        output = subprocess.PIPE if log is None else around.enter_context(log.open("ab"))
        around.enter_context(_explained(name, words[0]))
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            timeout=timeout,
            pass_fds=pass_fds,
            preexec_fn=_end_with_parent(signal.SIGKILL),
            check=False,
        )
    text = (done.stdout or b"").decode(errors="replace")
    if done.returncode != success:
        shown = text if log is None else log.read_text(errors="replace")
        raise _failed(name, words, done.returncode, shown)
    return text


@contextlib.contextmanager
def _explained(name: str, program: str) -> Iterator[None]:
    """Say in a sentence that a program is not there, or did not end in time."""
    try:
        yield
    except FileNotFoundError:
        raise VclawError(
            f"{name} failed: {program} is not there.", "Install it and try again."
        ) from None
    except subprocess.TimeoutExpired as error:
        raise VclawError(f"{name} did not end within {error.timeout:g} s.", "Try again.") from None


def _failed(name: str, words: Sequence[str], status: int, said: str) -> VclawError:
    return VclawError(
        f"{name} failed with exit status {status}.",
        "Command: " + " ".join(words) + "\n" + tail(said),
    )


def stream(
    argv: Sequence[str | Path],
    *,
    log: Path,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    what: str = "",
) -> None:
    """Run a long program; its output goes to `log`, and each line to `on_line` as it comes.

    The program leads a process group of its own: on any exception here (Ctrl-C too) the whole
    group is asked to stop, then killed, so that none of its children works on. Raises
    VclawError as `run` does.
    """
    words = [str(word) for word in argv]
    name = what or Path(words[0]).name
    with log.open("ab") as file:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            preexec_fn=_end_with_parent(signal.SIGTERM),
        )
        assert child.stdout is not None
        try:
            for line in child.stdout:
                file.write(line)
                on_line(line.decode(errors="replace").rstrip())
            status = child.wait()
        except BaseException:
            _stop_group(child)
            raise
        finally:
            child.stdout.close()
    if status != 0:
        raise _failed(name, words, status, log.read_text(errors="replace"))


def _stop_group(leader: subprocess.Popen[bytes]) -> None:
    """End a process group politely, then hard, and reap its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        leader.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text, blank ones left out."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])
