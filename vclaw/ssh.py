"""Work in a guest over SSH: the claw's own key, a pinned host key, one shared connection.

Options and their syntax: ssh_config(5) of OpenSSH. Nothing of the user's ~/.ssh is read or
written. The first command of a claw opens the connection, which stays for a while; the others
are sessions in it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from vclaw.errors import UsageError, VclawError
from vclaw.openclaw import WORKSPACE_DIR

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    import subprocess
    from pathlib import Path
    from types import FrameType
    from typing import IO

    from vclaw.claws.glance import Brief
    from vclaw.layout import SshFiles
    from vclaw.model import ClawSpec
    from vclaw.paths import ClawPaths

    Claw = ClawSpec | Brief
    Files = ClawPaths | SshFiles

USER = "claw"
"""The guest's user; vclaw/guest/apply.py makes it."""

CONNECT_SECONDS = 60
"""For the TCP connection and the banner: a busy emulated guest takes its time."""

LOGIN_SECONDS = 180.0
"""For all of a login, keys and authentication included."""

PERSIST_SECONDS = 600
"""How long a shared connection stays after its last session."""

UNHURRIED_SECONDS = 0.25
"""After a command that took longer, a look at the shared connection is no delay to speak of."""

SSH_FAILED = 255
"""ssh's exit status for its own failures, and for a command without a status."""

INTERRUPTED = 130

COMMAND_BYTES_MAX = 131_071
"""What fits in one argument on Linux (MAX_ARG_STRLEN), as the guest's shell gets it."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the command in the guest; a second one sends SIGTERM, a third SIGKILL."""


def options(paths: Files, spec: Claw) -> dict[str, str]:
    """What every connection to this guest needs, as keywords of ssh_config(5)."""
    return {
        "HostName": "127.0.0.1",
        "Port": str(spec.ssh_port),
        "User": USER,
        "IdentityFile": quoted(paths.ssh_key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": quoted(paths.known_hosts),
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": alias(spec),
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "BatchMode": "yes",
        "ConnectTimeout": str(CONNECT_SECONDS),
        # A guest that was reset leaves QEMU's end of the connection open.
        "ServerAliveInterval": "30",
        "ServerAliveCountMax": "4",
        "LogLevel": "ERROR",
    }


def alias(spec: Claw) -> str:
    """The name under which known_hosts has the guest's key, and ssh-config its host."""
    return f"vclaw-{spec.name}"


def quoted(path: Path | str) -> str:
    """A path as ssh_config(5) reads it: blanks kept, no escape and no %-token in it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def argv(paths: Files, spec: Claw, *words: str) -> list[str]:
    """An ssh command line that reads no configuration; `words` come before the host."""
    result = ["ssh", "-F", "none"]
    for keyword, value in options(paths, spec).items():
        result += ["-o", f"{keyword}={value}"]
    return [*result, "-o", f"ControlPath={quoted(paths.ssh_control)}", *words, alias(spec)]


def session_argv(paths: Files, spec: Claw, command: str, *, tty: bool) -> list[str]:
    """The command line of one session: `command` is for the guest's shell."""
    return [*argv(paths, spec, "-tt" if tty else "-T"), "--", command]


def connection_argv(paths: ClawPaths, spec: Claw) -> list[str]:
    """The command line that opens the shared connection, and returns once it stands."""
    return argv(paths, spec, "-M", "-N", "-o", f"ControlPersist={PERSIST_SECONDS}")


def config_text(paths: ClawPaths, spec: Claw) -> str:
    """A `Host` block for the user's ssh_config."""
    lines = [f"Host {alias(spec)}"]
    lines += [f"  {keyword} {value}" for keyword, value in options(paths, spec).items()]
    return "\n".join(lines) + "\n"


def remote_command(words: Sequence[str], mark: str, folder: str = WORKSPACE_DIR) -> str:
    """What the guest's shell runs: `words` as they are, in `folder`, and their exit status.

    The shell stays as the leader of the command's session and process group. By `mark` it is
    found again (see `kill_command`), and a command that dies of a signal has the status 128+n,
    where ssh itself would only say that there was none. Raises UsageError where it is too long.
    """
    text = (
        f": {mark}; hit=; trap hit=1 INT TERM HUP; cd {shlex.quote(folder)} || exit; "
        f"{shlex.join(words)}; status=$?; "
        # What a shell started with & ignores SIGINT, and may be root's.
        """[ -z "$hit" ] || { trap '' TERM; sudo -n kill -s TERM -- -$$; }; exit $status"""
    )
    if len(text.encode(errors="surrogateescape")) > COMMAND_BYTES_MAX:
        raise UsageError(
            f"The command is longer than {COMMAND_BYTES_MAX} bytes.",
            "Copy long input into the guest (`vclaw cp`), or give it on standard input.",
        )
    return text


def kill_command(mark: str, signum: int) -> str:
    """What the guest's shell runs to signal the process group that `mark` leads.

    The group may hold processes of root (`sudo`), and may not be there yet. The brackets keep
    the pattern from matching this very command.
    """
    pattern = f"^[^ ]+ -c : {mark[:-1]}[{mark[-1]}]"
    return (
        f"for _ in 1 2 3 4 5; do leader=$(pgrep -o -f {shlex.quote(pattern)}) && "
        f'exec sudo -n kill -s {signal.Signals(signum).name[3:]} -- "-$leader"; sleep 1; done'
    )


def connected(paths: Files) -> bool:
    """Whether a shared connection stands."""
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5.0)
        try:
            sock.connect(str(paths.ssh_control))
        except OSError:
            return False
    return True


def connect(paths: ClawPaths, spec: Claw) -> None:
    """Open the shared connection, where there is none; raises VclawError where that fails."""
    if connected(paths):
        return
    from vclaw import proc
    from vclaw.lock import locked

    proc.need("ssh", "working in a claw")
    # Two at once would leave one connection that nobody shares, and that nothing ends.
    with locked(paths.ssh_lock):
        if connected(paths):
            return
        paths.ssh_log.unlink(missing_ok=True)
        try:
            proc.run(connection_argv(paths, spec), log=paths.ssh_log, timeout=LOGIN_SECONDS)
        except VclawError as error:
            said = proc.tail(_text(paths.ssh_log), 1) or error.message
            raise VclawError(
                f"{spec.name} takes no SSH connection: {said}",
                f"It may still be booting: `vclaw ps`, `vclaw logs {spec.name} --serial`.",
            ) from None


def run(
    paths: ClawPaths,
    spec: Claw,
    words: Sequence[str],
    *,
    tty: bool = False,
    stdout: IO[bytes] | None = None,
) -> int:
    """Run a command in the guest's workspace with this process's streams; its exit status.

    With `stdout` its output goes there. SIGINT, SIGTERM and SIGHUP are passed on to the
    command's process group; the status is that of the command then too, or 130 where it left
    none. Raises VclawError where the connection failed.
    """
    if not paths.ssh_control.exists():
        connect(paths, spec)
    return session(paths, spec, words, tty=tty, stdout=stdout)


def session(
    paths: Files,
    spec: Claw,
    words: Sequence[str],
    *,
    tty: bool = False,
    stdout: IO[bytes] | None = None,
) -> int:
    """As `run`, in a shared connection that seems to stand.

    Where it does not, ssh finds out by itself and logs in anew. To ask first would delay every
    command, so what a killed connection left is removed after the command that it delayed.
    """
    mark = f"vclaw-{os.urandom(8).hex()}"
    command = session_argv(paths, spec, remote_command(words, mark), tty=tty)
    passer = _Passer(
        lambda signum: session_argv(paths, spec, kill_command(mark, signum), tty=False)
    )
    began = time.monotonic()
    with passer.started(command, stdout):
        status = passer.wait()
    if time.monotonic() - began > UNHURRIED_SECONDS:
        _forget_dead(paths)
    if status == SSH_FAILED or status < 0:
        if passer.sent:
            return INTERRUPTED
        if status < 0 or not connected(paths):
            raise lost(spec)
    return status


def _forget_dead(paths: Files) -> None:
    """Remove what a shared connection left whose process was killed; the next one is shared."""
    if connected(paths):
        return
    from pathlib import Path

    from vclaw.lock import locked

    with locked(Path(paths.ssh_lock)):
        if not connected(paths):
            Path(paths.ssh_control).unlink(missing_ok=True)


def lost(spec: Claw) -> VclawError:
    """The error of a connection that ended before its command."""
    return VclawError(
        f"The connection to {spec.name} was lost.",
        f"`vclaw ps` says what became of it, `vclaw logs {spec.name} --qemu` may say why.",
    )


class _Passer:
    """Runs ssh and passes signals on to the command in the guest.

    Without a terminal ssh ends at a signal and leaves the command alone in the guest. So ssh
    starts with these signals blocked, which no ssh undoes, and each that arrives here is sent
    to the command over a second session; ssh then ends with the command, its last output and
    its status.
    """

    def __init__(self, killer: Callable[[int], list[str]]) -> None:
        self._killer = killer
        self._child = 0
        self.sent: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def started(self, command: list[str], stdout: IO[bytes] | None) -> Iterator[None]:
        """Start ssh and pass signals on for the length of the block, which waits for its end."""
        with contextlib.ExitStack() as undo:
            # Delivered when the mask is lifted: none is missed, and none comes in between.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
            try:
                self._child = _spawn(command, stdout)
                undo.callback(self._end)
                for signum in FORWARDED:
                    undo.callback(signal.signal, signum, signal.signal(signum, self._pass))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield

    def _pass(self, signum: int, _frame: FrameType | None) -> None:
        import subprocess

        stages = (signum, signal.SIGTERM, signal.SIGKILL)
        if len(self.sent) >= len(stages):
            self._kill()  # the guest does not answer
            return
        self.sent.append(
            subprocess.Popen(
                self._killer(stages[len(self.sent)]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # the terminal's next SIGINT is not for this one
            )
        )

    def wait(self) -> int:
        """The exit status of ssh, negative where a signal ended it."""
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    def _kill(self) -> None:
        if self._child:
            os.kill(self._child, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()
        if self._child:
            self.wait()
        for child in self.sent:
            child.kill()
            child.wait()


def _spawn(command: list[str], stdout: IO[bytes] | None) -> int:
    """Start a program with this process's streams, or with `stdout`; its pid.

    Without subprocess, which takes long to import.
    """
    streams = [(os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)] if stdout is not None else []
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)  # by this interpreter, not by what it starts
    return os.posix_spawnp(command[0], command, os.environ, file_actions=streams, setsigdef=ignored)


@contextlib.contextmanager
def piped(
    paths: ClawPaths, spec: Claw, words: Sequence[str], *, send: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the guest whose stdin (`send`) or else stdout is a pipe to this process.

    Its stderr is the user's. On any exception it is ended, as is what reads or writes it.
    """
    import subprocess

    command = session_argv(paths, spec, remote_command(words, "vclaw"), tty=False)
    connect(paths, spec)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if send else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if send else subprocess.PIPE,
    )
    try:
        yield child
    except BaseException:
        child.kill()
        raise
    finally:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        child.wait()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
