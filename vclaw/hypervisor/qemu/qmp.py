"""A QMP client of a few lines: one connection, one command or some, closed again.

QEMU's own Python client stands on asyncio, whose import alone takes longer than a whole
`vclaw ps` may. Protocol: QEMU's docs/interop/qmp-spec.rst.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vclaw.errors import VclawError

TIMEOUT = 10.0
"""Seconds to wait for an answer; QEMU under load answers late, a dead one never."""


def execute(
    path: Path, command: str, arguments: dict[str, Any] | None = None, timeout: float = TIMEOUT
) -> Any:
    """Run one command on the monitor at `path` and return its `return` value.

    `timeout` in seconds is for the whole exchange. Raises VclawError where nothing answers
    in time or QEMU refuses the command.
    """
    with session(path, timeout) as ask:
        return ask(command, arguments or {})


Ask = Callable[..., Any]
"""`ask(command, arguments, fd)` -> its `return` value; QEMU is given the file descriptor `fd`."""


@contextlib.contextmanager
def session(path: Path, timeout: float) -> Iterator[Ask]:
    """A connection to the monitor at `path` for several commands; raises as `execute`."""
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            with sock.makefile("rb") as stream:
                stream.readline()  # the greeting

                def ask(
                    command: str, arguments: dict[str, Any] | None = None, fd: int | None = None
                ) -> Any:
                    return _ask(stream, sock, command, arguments or {}, deadline, fd)

                ask("qmp_capabilities")
                yield ask
    except (OSError, ValueError) as error:
        raise VclawError(
            f"QEMU does not answer on {path}: {error}.",
            "See the claw's qemu.log, or end it with `vclaw stop`.",
        ) from None


def _ask(
    stream: Any,
    sock: socket.socket,
    command: str,
    arguments: dict[str, Any],
    deadline: float,
    fd: int | None,
) -> Any:
    request = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
    sock.settimeout(max(0.001, deadline - time.monotonic()))
    # A descriptor travels with the request's first bytes (unix(7), SCM_RIGHTS).
    sent = socket.send_fds(sock, [request], [fd]) if fd is not None else 0
    sock.sendall(request[sent:])
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        line = stream.readline()
        if not line:
            raise OSError("the connection was closed")
        answer = json.loads(line)
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            raise VclawError(f"QEMU refused {command}: {answer['error'].get('desc')}.")
        # Anything else is an event, which comes when it likes.
