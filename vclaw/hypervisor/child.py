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
"""What sh does until a program may begin: it waits for a line, and ends where none can come.

A process keeps its pid and its start time when it becomes another program. So the process is
recorded first and let go then, and a vclaw that is killed in between leaves no program that
nobody knows of.
"""


def gated(argv: Sequence[str]) -> list[str]:
    """The command line that waits at the gate; its standard input is to be a pipe."""
    return ["/bin/sh", "-c", GATE, *argv]


def open_gate(process: subprocess.Popen[bytes]) -> None:
    """Let what was started with `gated` begin."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone, as the next poll says
        process.stdin.write(b"go\n")
        process.stdin.close()


class Bare:
    """A `Child` without a wall around it."""

    def __init__(self, argv: Sequence[str], log: IO[bytes], held: Sequence[int] = ()) -> None:
        self._child = subprocess.Popen(
            gated(argv),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=held,
        )
        self.pid = self._child.pid

    def go(self) -> None:
        """Open the gate."""
        open_gate(self._child)

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        self._child.kill()
        self._child.wait()
