"""Who listens on a unix socket, as the kernel knows it."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

from vclaw.hypervisor.process import Process, start_mark

SECONDS = 0.5
"""A connection stands at once, but where more of them wait than the listener allows."""


def listener(path: Path) -> Process | None:
    """The process that listens on the socket `path`, with its command line; None if none is known.

    Linux remembers who called listen(2), and tells its pid as this process sees it, also where
    the listener has a process namespace of its own (SO_PEERCRED, unix(7)).
    """
    if sys.platform != "linux":
        return None
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(SECONDS)
            sock.connect(str(path))
            size = struct.calcsize("3i")
            pid, _, _ = struct.unpack(
                "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return None
    return Process(pid, start_mark(pid), tuple(word.decode(errors="replace") for word in words))
