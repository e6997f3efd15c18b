"""TCP ports of the host's loopback: parsed, checked, chosen."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Iterable

from vclaw.errors import UsageError
from vclaw.model import PortForward

LOOPBACK = "127.0.0.1"

LAST = 65535


def number(text: str, what: str) -> int:
    """A port from 1 to 65535; raises UsageError that names `what`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= LAST):
        raise UsageError(
            f"{what} is {text!r}, which is no port.", f"A port is a number from 1 to {LAST}."
        )
    return int(text)


def forward(text: str, flag: str = "--publish") -> PortForward:
    """Parse HOST:GUEST or 127.0.0.1:HOST:GUEST, which follows `flag`; raises UsageError."""
    parts = text.split(":")
    hint = f"Write {flag} HOST:GUEST, for example {flag} 8080:80."
    if len(parts) == 3:
        if parts[0] not in (LOOPBACK, "localhost"):
            raise UsageError(
                f"{flag} {text} would listen on {parts[0] or 'every address'}.",
                f"A claw is published on {LOOPBACK} alone; write {':'.join(parts[1:])}.",
            )
        parts = parts[1:]
    if len(parts) != 2:
        raise UsageError(f"{flag} {text} is not understood.", hint)
    what = f"{flag} {text}: the port"
    return PortForward(number(parts[0], what), number(parts[1], what))


def check_distinct(forwards: Iterable[PortForward]) -> None:
    """Raise UsageError where two forwards have the same host port."""
    seen: set[int] = set()
    for item in forwards:
        if item.host in seen:
            raise UsageError(
                f"Port {item.host} of the host is given twice.", "Give each its own host port."
            )
        seen.add(item.host)


def is_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback."""
    with socket.socket() as probe:
        # As QEMU does: a port whose last connections are only fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    """Raise UsageError where something listens on this port."""
    if not is_free(port):
        raise UsageError(
            f"Port {port} of the host is taken by another program.",
            "Choose another one, or end that program.",
        )


def next_free(port: int, avoid: Collection[int]) -> int:
    """The first free port from `port` upwards that is not in `avoid`."""
    for candidate in range(port, LAST + 1):
        if candidate not in avoid and is_free(candidate):
            return candidate
    raise UsageError(f"No port from {port} to {LAST} is free.", "Name a lower one with --port.")


def any_free(avoid: Collection[int]) -> int:
    """A free port, none of `avoid`.

    It lies below those that systems give to outgoing connections (32768 and more on Linux): one
    of them could be taken at any moment before it is listened on.
    """
    return next_free(random.randrange(20_000, 30_000), avoid)
