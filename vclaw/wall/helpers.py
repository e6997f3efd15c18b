"""helpers.json: the programs in a claw's namespaces, pasta and a relay for each port.

They need no ending, since they end with the claw; they are kept to be found and mended.
"""

from __future__ import annotations

from collections.abc import Mapping

from vclaw import fsutil
from vclaw.errors import VclawError
from vclaw.hypervisor.process import Process
from vclaw.paths import ClawPaths

PASTA = "pasta"
"""pasta's name; a relay's is its port of the host."""


def running(paths: ClawPaths) -> dict[str, Process]:
    """Name -> process of those that live; what cannot be read counts as none."""
    try:
        value = fsutil.read_json(paths.helpers)
        known = {name: Process.from_json(entry) for name, entry in value.items()}
    except (FileNotFoundError, VclawError, KeyError, TypeError, ValueError):
        return {}
    return {name: process for name, process in known.items() if process.alive}


def save(paths: ClawPaths, known: Mapping[str, Process]) -> None:
    """Write those there are."""
    value = {name: process.to_json() for name, process in known.items()}
    fsutil.write_json(paths.helpers, value, 0o600)
