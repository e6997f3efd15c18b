"""What the files of claws say at first sight: enough to list a stopped one and to reach a guest.

Nothing is judged here. Whatever is not plainly as vclaw writes it is None, and `record` and
`status`, which import much more, say what is wrong with it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence

from vclaw import layout, openclaw

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SPEC = {
    "schema": (int,),
    "name": (str,),
    "image": (dict,),
    "openclaw_version": (str,),
    "workspace": (str,),
    "cpus": (int,),
    "memory_mib": (int,),
    "disk_gib": (int,),
    "gateway_port": (int,),
    "ssh_port": (int,),
    "port_fixed": (bool,),
    "publish": (list,),
    "network": (str,),
    "allow_host_port": (list,),
    "model": (str,),
    "model_base_url": (str,),
    "state": (str, type(None)),
    "read_only_workspace": (bool,),
    "template": (bool,),
}
"""The members of claw.json and their types; `record.to_json` writes them."""

IMAGE = {
    "distro": (str,),
    "version": (str,),
    "arch": (str,),
    "serial": (str,),
    "path": (str, type(None)),
}

FORWARD = {"host": (int,), "guest": (int,)}

NETWORKS = ("open", "internet", "none")
"""As `model` has them."""

SCHEMA = 1
"""Version of claw.json; another one means that another vclaw wrote it."""


class Brief:
    """A claw in short, as its claw.json has it; `image` is its name for the user."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.name: str = spec["name"]
        self.image = _image_name(spec["image"])
        self.gateway_port: int = spec["gateway_port"]
        self.ssh_port: int = spec["ssh_port"]
        self._workspace: str = spec["workspace"]

    @property
    def workspace(self) -> Path:
        """The project's folder on the host."""
        from pathlib import Path

        return Path(self._workspace)


def brief(folder: str) -> Brief | None:
    """The claw whose folder this is; None where its claw.json is in any way unusual."""
    try:
        with open(f"{folder}/{layout.SPEC}", "rb") as file:  # noqa: PTH123 - see layout
            spec = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    if not (
        _fits(spec, SPEC)
        and spec["schema"] == SCHEMA
        and spec["name"] == os.path.basename(folder)  # noqa: PTH119
        and _fits(spec["image"], IMAGE)
        and all(_fits(forward, FORWARD) for forward in spec["publish"])
        and spec["network"] in NETWORKS
        and all(type(port) is int for port in spec["allow_host_port"])
    ):
        return None
    return Brief(spec)


def at_work(folder: str) -> Brief | None:
    """The claw whose folder this is, where its guest can be asked for something right now.

    It runs, is not suspended, and an SSH connection to it was opened, as it seems. None where
    any of it is not plainly so.
    """
    from vclaw.hypervisor.process import Process

    try:
        with open(f"{folder}/{layout.RUN}", "rb") as file:  # noqa: PTH123
            process = Process.from_json(json.loads(file.read()))
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    files = (f"{folder}/{layout.SUSPENDED}", f"{folder}/{layout.SSH_CONTROL}")
    suspended, connected = map(os.path.lexists, files)
    return brief(folder) if process.alive and connected and not suspended else None


def rows(instances: str) -> dict[str, dict[str, Any] | None]:
    """Name -> its row of `vclaw ps`; None for a claw that is something else than stopped in order.

    Among a thousand claws few run: only these are worth the long look of `status`.
    """
    return {name: _stopped(f"{instances}/{name}") for name in names(instances)}


def _stopped(folder: str) -> dict[str, Any] | None:
    """The row of one claw: what `status.of` says of it, as JSON has it."""
    updated, status = 0.0, "stopped"
    for mark in layout.MARKS:
        try:
            changed = os.stat(f"{folder}/{mark}").st_mtime  # noqa: PTH116
        except FileNotFoundError:
            continue
        except OSError:
            return None
        if mark in (layout.RUN, layout.LAST_ERROR):
            return None
        if mark == layout.SAVED:
            status = "suspended"
        updated = max(updated, changed)
    if os.path.lexists(f"{folder}/{layout.STATUS_SOCKET}"):
        return None
    claw = brief(folder)
    if claw is None:
        return None
    return {
        "name": claw.name,
        "image": claw.image,
        "status": status,
        "gateway": openclaw.url(claw.gateway_port),
        "pid": None,
        "updated": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(updated)),
        "last_error": "",
    }


def names(instances: str) -> list[str]:
    """The CLAWIDs there are, sorted; folders that are being removed do not count."""
    try:
        with os.scandir(instances) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."
            )
    except FileNotFoundError:
        return []


def unfinished(templates: str) -> bool:
    """Whether a template is being made, or its maker was killed."""
    try:
        return any(name.endswith(layout.SCRATCH) for name in os.listdir(templates))  # noqa: PTH208
    except OSError:
        return False


def _fits(value: object, members: Mapping[str, Sequence[type]]) -> bool:
    """Whether a JSON value is an object of these members and no others, each of its type."""
    return (
        isinstance(value, dict)
        and value.keys() == members.keys()
        and all(type(value[name]) in types for name, types in members.items())
    )


def _image_name(image: dict[str, Any]) -> str:
    """As `model.ImageRef.name`."""
    if image["path"] is not None:
        return str(image["path"])
    serial = f"@{image['serial']}" if image["serial"] else ""
    return f"{image['distro']}:{image['version']}{serial}"
