"""claw.json: what was asked for, read and written.

The values of `model` are imported where one is made: to know which claws there are takes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vclaw import fsutil
from vclaw.claws import glance
from vclaw.errors import UsageError, VclawError
from vclaw.paths import ClawPaths, Home

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any

    from vclaw.model import ClawSpec, ImageRef, PortForward

SCHEMA = glance.SCHEMA


def to_json(spec: ClawSpec) -> dict[str, Any]:
    """As claw.json holds it: paths are strings."""
    from dataclasses import asdict

    value = asdict(spec)
    value["workspace"] = str(spec.workspace)
    value["state"] = None if spec.state is None else str(spec.state)
    path = spec.image.path
    value["image"]["path"] = None if path is None else str(path)
    return {"schema": SCHEMA, **value}


def from_json(value: Mapping[str, Any]) -> ClawSpec:
    """The reverse of `to_json`; raises KeyError, TypeError or ValueError on another shape."""
    from vclaw.model import ClawSpec, ImageRef, PortForward

    given = {key: item for key, item in value.items() if key != "schema"}
    image = dict(given["image"])
    image["path"] = None if image["path"] is None else Path(image["path"])
    given["image"] = ImageRef(**image)
    given["workspace"] = Path(given["workspace"])
    if given.get("state") is not None:
        given["state"] = Path(given["state"])
    given["publish"] = tuple(PortForward(**forward) for forward in given["publish"])
    spec = ClawSpec(**given)
    parts: list[ClawSpec | ImageRef | PortForward] = [spec, spec.image, *spec.publish]
    for part in parts:
        _check_types(part)
    return spec


def _check_types(value: ClawSpec | ImageRef | PortForward) -> None:
    from dataclasses import fields

    kinds = {"str": str, "int": int, "bool": bool}
    for field in fields(value):
        kind = kinds.get(str(field.type))
        if kind is not None and type(getattr(value, field.name)) is not kind:
            raise TypeError(f"{field.name} is no {kind.__name__}")


def save(paths: ClawPaths, spec: ClawSpec) -> None:
    """Write claw.json where it differs."""
    fsutil.write_if_changed(paths.spec, fsutil.json_bytes(to_json(spec)))


def load(paths: ClawPaths) -> ClawSpec:
    """Read claw.json; raises VclawError with the reason where it is not there or damaged."""
    remove = f"`vclaw rm {paths.root.name}` removes the claw; its workspace is not touched."
    try:
        value = fsutil.read_json(paths.spec)
    except FileNotFoundError:
        raise VclawError(f"{paths.spec} is missing.", remove) from None
    except OSError as error:
        raise VclawError(f"{paths.spec} cannot be read: {error.strerror}.", remove) from None
    if value.get("schema") != SCHEMA:
        raise VclawError(f"{paths.spec} is damaged: its schema is not {SCHEMA}.", remove)
    try:
        spec = from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VclawError(f"{paths.spec} is damaged: {error!r}.", remove) from None
    if spec.name != paths.root.name:
        raise VclawError(f"{paths.spec} is damaged: it is of {spec.name}.", remove)
    return spec


def names(home: Home) -> list[str]:
    """The CLAWIDs there are, sorted; folders that are being removed do not count."""
    return glance.names(str(home.instances))


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
