"""Which processes hold what the host lent this guest: its folders and the seed disk.

A process holds a mount by a file that it has open or mapped, by its working or root folder, or by
a mount namespace of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROC = Path("/proc")

PLACES = ("/workspace", "/var/lib/openclaw", "/run/vclaw/seed")
"""Mount points, in the order in which they can be given up."""

MOST = 10
"""Holders that are told; one is enough to know what is in the way."""


def of(spared: str) -> list[dict[str, Any]]:
    """The holders as pid, name and path, but for processes of the unit `spared`."""
    found = []
    for process in processes():
        path = held_by(process)
        if path and not (spared and in_unit(process, spared)):
            found.append({"pid": int(process.name), "name": name_of(process), "path": path})
    return found[:MOST]


def elsewhere() -> list[dict[str, Any]]:
    """The processes in whose mount namespaces a folder of the host's is still mounted."""
    found = []
    for process in processes():
        with contextlib.suppress(OSError):
            for line in (process / "mountinfo").read_text().splitlines():
                fields, _, kind = line.partition(" - ")
                if kind.startswith("9p "):
                    path = fields.split()[4]
                    found.append({"pid": int(process.name), "name": name_of(process), "path": path})
                    break
    return found[:MOST]


def processes() -> Iterator[Path]:
    """Every process but this one."""
    me = str(os.getpid())
    for folder in PROC.iterdir():
        if folder.name.isdigit() and folder.name != me:
            yield folder


def held_by(process: Path) -> str:
    """A path in one of the places that a process holds, "" where there is none."""
    links = [process / "cwd", process / "root"]
    with contextlib.suppress(OSError):  # it has ended, as at any step below
        links += (process / "fd").iterdir()
    for link in links:
        with contextlib.suppress(OSError):
            path = str(link.readlink())
            if lies_within(path):
                return path
    with contextlib.suppress(OSError):
        for line in (process / "maps").read_text(errors="replace").splitlines():
            path = line.partition("/")[2]
            if path and lies_within("/" + path):
                return "/" + path
    return ""


def lies_within(path: str) -> bool:
    return any(path == place or path.startswith(place + "/") for place in PLACES)


def in_unit(process: Path, unit: str) -> bool:
    try:
        return f"/{unit}" in (process / "cgroup").read_text()
    except OSError:
        return False


def name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"
