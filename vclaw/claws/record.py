"""claw.json: what was asked for, read and written.

The values of `model` are imported where one is made: to know which claws there are takes none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from vclaw import fsutil, schema
from vclaw.claws import glance
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.paths import ClawPaths

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any

    from vclaw.model import ClawSpec, ImageRef, PortForward

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older claw.json up to date, see `vclaw.schema`; `glance.SCHEMA` goes with it."""


REMOVED = ".removed-"
"""How the folder of a claw begins that is being deleted."""


def to_json(spec: ClawSpec) -> dict[str, Any]:
    """As claw.json holds it: paths are strings."""
    value = schema.to_json(spec, STEPS)
    value["workspace"] = str(spec.workspace)
    value["state"] = None if spec.state is None else str(spec.state)
    path = spec.image.path
    value["image"]["path"] = None if path is None else str(path)
    return value


def from_json(value: Mapping[str, Any]) -> ClawSpec:
    """The reverse of `to_json`, its version left out.

    Raises KeyError, TypeError or ValueError on another shape.
    """
    from vclaw.model import NETWORKS, ClawSpec, ImageRef, PortForward

    given = dict(value)
    image = dict(given["image"])
    image["path"] = None if image["path"] is None else Path(image["path"])
    given["image"] = ImageRef(**image)
    given["workspace"] = Path(given["workspace"])
    if given.get("state") is not None:
        given["state"] = Path(given["state"])
    given["publish"] = tuple(PortForward(**forward) for forward in given["publish"])
    given["allow_host_port"] = tuple(map(int, given.get("allow_host_port", ())))
    spec = ClawSpec(**given)
    if spec.network not in NETWORKS:
        raise ValueError(f"network is {spec.network!r}")
    parts: list[ClawSpec | ImageRef | PortForward] = [spec, spec.image, *spec.publish]
    for part in parts:
        schema.check_types(part)
    return spec


def save(paths: ClawPaths, spec: ClawSpec) -> None:
    """Write claw.json where it differs."""
    fsutil.write_if_changed(paths.spec, fsutil.json_bytes(to_json(spec)))


def load(paths: ClawPaths) -> ClawSpec:
    """Read claw.json; raises VclawError with the reason where it is not there or damaged."""
    remove = f"`vclaw rm {paths.root.name}` removes the claw; its workspace is not touched."
    try:
        value = schema.read(paths.spec, STEPS, remove)
    except FileNotFoundError:
        raise VclawError(
            f"{paths.spec} is missing: the first run was interrupted, or has only begun.", remove
        ) from None
    try:
        spec = from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise schema.damaged(paths.spec, repr(error), remove) from None
    if spec.name != paths.root.name:
        raise schema.damaged(paths.spec, f"it is of {spec.name}", remove)
    return spec


def names(home: Home) -> list[str]:
    """The CLAWIDs there are, sorted; folders that are being removed do not count."""
    return glance.names(str(home.instances))


def withdraw(paths: ClawPaths) -> Path:
    """Make a claw's folder one that is no claw, in one step; returns its new path.

    The caller, who holds the claw's lock, deletes it then; `sweep` does where that is cut short.
    """
    import secrets

    doomed = paths.root.with_name(f"{REMOVED}{paths.root.name}-{secrets.token_hex(4)}")
    paths.root.rename(doomed)
    return doomed


def sweep(home: Home) -> None:
    """Delete what interrupted removals left."""
    for rest in home.instances.glob(f"{REMOVED}*"):
        with contextlib.suppress(OSError):
            fsutil.remove_tree(rest)


def existing(home: Home, name: str) -> ClawPaths:
    """The paths of a claw that is there; raises UsageError with the nearest name otherwise."""
    known = names(home)
    if name in known:
        return home.claw(name)
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    raise UsageError(
        f"There is no claw {name!r}.",
        (f"Did you mean {near[0]}? " if near else "") + "`vclaw ps` lists the claws.",
    )
