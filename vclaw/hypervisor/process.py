"""A process that outlives the command that started it, told apart from a later one of its pid."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any


class Process:
    """`started` tells this process from any other that had or will have the same pid."""

    def __init__(self, pid: int, started: str, argv: tuple[str, ...]) -> None:
        self.pid = pid
        self.started = started
        self.argv = argv

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {"pid": self.pid, "started": self.started, "argv": list(self.argv)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Process:
        """The reverse of `to_json`; raises KeyError or TypeError on another shape."""
        return cls(int(value["pid"]), str(value["started"]), tuple(map(str, value["argv"])))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return bool(self.started) and start_mark(self.pid) == self.started

    def end(self, patience: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after `patience` seconds; returns when it is gone."""
        for signum, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
            if not self.alive:
                return
            with contextlib.suppress(ProcessLookupError):  # it ended between the two lines
                os.kill(self.pid, signum)
            self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to be gone; returns whether it is."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True


def start_mark(pid: int) -> str:
    """When process `pid` started, as a string that no other process on this host ever has.

    On Linux the boot id and the start time in clock ticks since that boot (proc(5), field 22
    of /proc/PID/stat): neither moves when the clock is set. Elsewhere psutil's creation time.
    Empty where there is no such process, or where only its zombie is left.
    """
    if sys.platform != "linux":
        return _psutil_start_mark(pid)
    try:
        stat = _text(f"/proc/{pid}/stat")
    except OSError:
        return ""
    # The second field is the program's name in parentheses and may hold anything.
    fields = stat.rpartition(")")[2].split()
    state, threads, ticks = fields[0], int(fields[17]), fields[19]
    # Its first thread may be over while others still hold its ports and its disk's lock.
    gone = state in "ZX" and threads <= 1
    return "" if gone else f"{boot_id()}:{ticks}"


def boot_id() -> str:
    """This boot of the host, "" where the system has no name for it."""
    try:
        return _text("/proc/sys/kernel/random/boot_id").strip()
    except OSError:
        return ""


def _text(path: str) -> str:
    # Without pathlib, which takes longer to import than all that `exec` may take.
    with open(path) as file:  # noqa: PTH123
        return file.read()


def _psutil_start_mark(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return str(process.create_time())
    except psutil.Error:
        return ""
