"""A hypervisor process that was started just now, and the plain way to start one."""

from __future__ import annotations

import contextlib
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


GATE = 'read -r go && exec "$0" "$@" </dev/null'
"""What sh does until the hypervisor may begin: it waits for a line, and ends where none can come.

A process keeps its pid and its start time when it becomes another program. So the process is
recorded first and let go then, and a vclaw that is killed in between leaves no hypervisor that
nobody knows of.
"""


class Bare:
    """A `Child` without a wall around it."""

    def __init__(self, argv: Sequence[str], log: IO[bytes], held: Sequence[int] = ()) -> None:
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", GATE, *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=held,
        )
        self.pid = self._child.pid

    def go(self) -> None:
        """Open the gate."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone, as the next poll says
            self._child.stdin.write(b"go\n")
            self._child.stdin.close()

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        self._child.kill()
        self._child.wait()
