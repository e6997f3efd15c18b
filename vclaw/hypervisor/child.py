"""A hypervisor process that was started just now, and the plain way to start one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import IO, Protocol


class Child(Protocol):
    """A process that was started just now, and that does nothing before it is told to `go`."""

    pid: int

    def go(self) -> None:
        """Let it begin."""

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""

    def kill(self) -> None:
        """End it at once, and return when it is gone."""


class Bare:
    """A `Child` without a wall around it, which has begun already."""

    def __init__(self, argv: Sequence[str], log: IO[bytes]) -> None:
        self._child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self.pid = self._child.pid

    def go(self) -> None:
        """It does already."""

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        self._child.kill()
        self._child.wait()
