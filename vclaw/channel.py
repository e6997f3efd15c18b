"""The host's end of the guest channel: ask the agent in the guest, one question a connection.

Protocol: vclaw/guest/agent.py.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from vclaw.errors import VclawError


class NoAnswer(VclawError):
    """The guest did not answer in time: still booting, paused, or hung."""


def ask(path: Path, op: str, timeout: float, **fields: Any) -> dict[str, Any]:
    """Send one request to the agent behind the socket `path` and return its answer's fields.

    `timeout` is in seconds. Raises NoAnswer where none comes in time, VclawError where the
    agent says that it could not do it.
    """
    number = secrets.randbits(32)
    request = json.dumps({"id": number, "op": op, **fields}).encode() + b"\n"
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(request)
            answer = _receive(sock, number, deadline)
    except OSError as error:
        raise NoAnswer(f"The guest does not answer: {error}.", "See the serial log.") from None
    if not answer.get("ok"):
        raise VclawError(f"The guest could not do {op}: {answer.get('error', 'no reason given')}.")
    return answer


def _receive(sock: socket.socket, number: int, deadline: float) -> dict[str, Any]:
    """Read lines until the one that answers request `number`; older answers are passed over."""
    buffer = b""
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = sock.recv(65536)
        if not data:
            raise OSError("the connection was closed")
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # the rest of an answer whose reader went away
            if isinstance(answer, dict) and answer.get("id") == number:
                return answer
