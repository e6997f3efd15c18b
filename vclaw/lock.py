"""Locks between vclaw processes: flock(2), so a lock ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vclaw import crashpoints, fsutil
from vclaw.errors import VclawError

BUSY_SECONDS = 0.5
"""How long a command waits for another one that works on the same claw."""

_held: set[Path] = set()
"""Locks that this process holds now; vclaw's work is done by one thread."""


@contextlib.contextmanager
def locked(
    path: Path, wait: float | None = None, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block.

    `wait` is how many seconds to wait for another holder, None for ever. `on_wait` is called
    once with the holder's description where there is something to wait for. Raises VclawError
    that names the holder when the time is over, or that says that the file's folder is not there
    (any more). The file itself stays: removing it would let two processes hold two locks of the
    same name. A block inside a block that holds the same lock in this process just runs.

    Whoever gets the lock finds the folder swept of what a killed holder was just writing.
    """
    if path in _held:
        yield
        return
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise _removed(path) from None
    try:
        _acquire(fd, path, wait, on_wait)
        _check_current(fd, path)
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # a full disk: `vclaw rm` must work there
            os.pwrite(fd, _me().encode(), 0)
        _held.add(path)
        crashpoints.reach("lock.held")
        fsutil.sweep(path.parent)
        yield
    finally:
        if path in _held:
            _held.remove(path)
            os.ftruncate(fd, 0)
        os.close(fd)


def _acquire(
    fd: int, path: Path, wait: float | None, on_wait: Callable[[str], None] | None
) -> None:
    deadline = None if wait is None else time.monotonic() + wait
    told = False
    holder = ""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(fd) or holder or "another process"
        if deadline is not None and time.monotonic() >= deadline:
            raise VclawError(
                f"{path.parent.name} is busy: {holder} is working on it.",
                "Wait for it to end, then run the command again.",
            )
        if on_wait is not None and not told:
            told = True
            on_wait(holder)
        time.sleep(0.1)


def _check_current(fd: int, path: Path) -> None:
    """Raise VclawError where the file was moved away while this process waited for it."""
    try:
        if os.path.samestat(os.fstat(fd), path.stat()):
            return
    except FileNotFoundError:
        pass
    raise _removed(path)


def _removed(path: Path) -> VclawError:
    return VclawError(
        f"{path.parent.name} was removed by another process just now.", "Run the command again."
    )


def _me() -> str:
    """This process for whoever waits for it: `123 vclaw run`; flags may be secrets."""
    program, *words = sys.argv[:2]
    command = f" vclaw {' '.join(words)}" if Path(program).name == "vclaw" else ""
    return f"{os.getpid()}{command.rstrip()}"


def _holder(fd: int) -> str:
    """`process 123 (vclaw run)`; "" in the moment before the holder has written that."""
    pid, _, its_command = os.pread(fd, 64, 0).decode(errors="replace").partition(" ")
    return f"process {pid}" + (f" ({its_command})" if its_command else "") if pid else ""
