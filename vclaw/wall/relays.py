"""Ports of the host's loopback that lead into a walled claw, changed while it runs.

For each a socat listens in the host's network and connects in the claw's, to the same port of
the loopback there: that is where QEMU forwards it to the guest.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import IO

from vclaw import ports, proc
from vclaw.errors import VclawError
from vclaw.paths import ClawPaths
from vclaw.wall import helpers, mechanism, sandbox
from vclaw.wall.mechanism import PURPOSE
from vclaw.wall.namespaces import Helper, Namespaces

LISTEN_SECONDS = 15.0
"""A socat listens within some hundredths of a second, on a busy host later."""


def lead(paths: ClawPaths, claw: Namespaces, wanted: Collection[int], log: IO[bytes]) -> None:
    """Let exactly these ports of the host lead into the claw; those that do already are left alone.

    A relay that has ended by itself is started again; connections outlive their relay. Raises
    UsageError where a port is taken, VclawError where it cannot be listened on.
    """
    running = helpers.running(paths)
    names = {str(port) for port in wanted}
    for name in sorted(name for name in running if name.isdigit() and name not in names):
        running.pop(name).end()
        helpers.save(paths, running)
    started = []
    for port in sorted(port for port in wanted if str(port) not in running):
        ports.require_free(port)
        words = sandbox.relay(mechanism.tools(), proc.need("socat", PURPOSE), claw.netns, port)
        helper = claw.start(words, log)
        running[str(port)] = helper.process(words)
        helpers.save(paths, running)
        helper.go()
        started.append((port, helper))
    for port, helper in started:
        _wait(port, helper, log)


def _wait(port: int, helper: Helper, log: IO[bytes]) -> None:
    deadline = time.monotonic() + LISTEN_SECONDS
    while ports.is_free(port):
        if helper.monitor.poll() is not None or time.monotonic() > deadline:
            raise VclawError(
                f"Port {port} of the host cannot be listened on.",
                f"What socat said of it is in {log.name}.",
            )
        time.sleep(0.01)
