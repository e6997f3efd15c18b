"""Records: JSON files that carry the version of their schema, read into dataclasses and checked.

An older record is brought up to date as it is read; on the disk it changes when it is next
written. A newer one is refused: what it means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vclaw import fsutil
from vclaw.errors import VclawError

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

    Step = Callable[[dict[str, Any]], dict[str, Any]]
    """Makes a record's members of one version into those of the next."""

TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "Mapping[str, str]": (dict,),
    "dict[str, Any] | None": (dict, type(None)),
}
"""A dataclass field's annotation -> what its value must be; any other is not checked here."""


class NewerError(VclawError):
    """A record that a newer vclaw wrote; it is whole, and must be left alone."""


def version(steps: Sequence[Step]) -> int:
    """Today's version of a record that `steps` bring up to date."""
    return len(steps) + 1


def read(path: Path, steps: Sequence[Step], hint: str) -> dict[str, Any]:
    """The members of a record in today's form, without its version.

    `steps[0]` makes version 2 of version 1, and so on; version 1 is the first.
    `hint` says what to do about a damaged one. Raises FileNotFoundError where there is none,
    NewerError, and VclawError where it is damaged or cannot be read.
    """
    try:
        value = fsutil.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise VclawError(f"{path} cannot be read: {error.strerror}.", hint) from None
    except VclawError as error:
        raise VclawError(error.message, hint) from None
    found, today = value.pop("schema", None), version(steps)
    if type(found) is not int or found < 1:
        raise damaged(path, "it has no schema version", hint)
    if found > today:
        raise NewerError(
            f"{path} was written by a newer vclaw (schema {found}; this one knows {today}).",
            "Upgrade vclaw, then run the command again.",
        )
    try:
        for step in steps[found - 1 :]:
            value = step(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, repr(error), hint) from None
    return value


def load(path: Path, kind: type[T], steps: Sequence[Step], hint: str) -> T:
    """Read a record whose members are the fields of the dataclass `kind`; raises as `read`."""
    value = read(path, steps, hint)
    try:
        record = kind(**value)
        check_types(record)
    except TypeError as error:
        raise damaged(path, str(error), hint) from None
    return record


def to_json(record: Any, steps: Sequence[Step]) -> dict[str, Any]:
    """A record as its file holds it."""
    from dataclasses import asdict

    return {"schema": version(steps), **asdict(record)}


def check_types(record: Any) -> None:
    """Raise TypeError where a field's value is not what its annotation says; see `TYPES`."""
    from dataclasses import fields

    for field in fields(record):
        value, kinds = getattr(record, field.name), TYPES.get(str(field.type))
        if kinds is not None and type(value) not in kinds:
            raise TypeError(f"{field.name} is no {field.type}")
        texts = field.type == "Mapping[str, str]"
        if texts and not all(type(item) is str for item in value.values()):
            raise TypeError(f"{field.name} is no {field.type}")


def damaged(path: Path, why: str, hint: str) -> VclawError:
    """The error for a record that no vclaw wrote like this."""
    return VclawError(f"{path} is damaged: {why}.", hint)
