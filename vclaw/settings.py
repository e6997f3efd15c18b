"""The settings of a run: which there are, and which of flag, file, claw and default counts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vclaw.project_file import ProjectFile

COMMAND_LINE_ONLY = frozenset({"help", "json"})
"""Flags that are about one call; a file that turned on --json would print tokens into logs."""

KINDS = {
    "PORT": "whole",
    "N": "whole",
    "MIB": "whole",
    "GIB": "whole",
    "S": "seconds",
    "DIR": "path",
    "FILE": "path",
}
"""A flag's metavar -> the kind of its value; any other metavar stands for a text."""

ADDITIVE = frozenset({"env", "env_file"})
"""Variables of the file and of the flags come together; the flags' win one by one."""


@dataclass(frozen=True)
class Setting:
    """One flag of `vclaw run`, as a key of vclaw.yaml."""

    key: str  # memory-mib
    dest: str  # memory_mib
    kind: str  # text | whole | seconds | path | switch
    repeatable: bool
    help: str
    negatable: bool = False  # a switch that --no-KEY turns off again


@dataclass(frozen=True)
class Row:
    """One line of `vclaw config show`; `value` is None where nothing stands for it."""

    key: str
    value: str | list[str] | bool | None
    source: str  # flag | vclaw.yaml:LINE | claw.json | default


@dataclass(frozen=True)
class Merged:
    """`said`: dest -> what flags and file say (of `ADDITIVE` the flags alone), else not there."""

    said: Mapping[str, Any]
    rows: tuple[Row, ...]


def from_parser(parser: argparse.ArgumentParser) -> dict[str, Setting]:
    """Every flag of a parser as key -> Setting, so that a new flag is a new key by itself."""
    found = {}
    for action in parser._actions:
        long = [text[2:] for text in action.option_strings if text.startswith("--")]
        key = long[0] if long else action.dest
        if key in COMMAND_LINE_ONLY:
            continue
        negatable = isinstance(action, argparse.BooleanOptionalAction)
        switch = negatable or isinstance(action, argparse._StoreTrueAction)
        kind = "switch" if switch else KINDS.get(str(action.metavar), "text")
        repeatable = isinstance(action, argparse._AppendAction)
        found[key] = Setting(key, action.dest, kind, repeatable, action.help or "", negatable)
    return found


def merge(
    settings: Mapping[str, Setting],
    flags: Mapping[str, Any],
    file: ProjectFile | None,
    existing: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Merged:
    """Flags before the file, the file before what the claw was given, that before defaults.

    `flags` are argparse's values, where None, False and an empty list mean that nothing was
    said; `existing` and `defaults` are dest -> value. Pure.
    """
    said: dict[str, Any] = {}
    rows = []
    for setting in settings.values():
        flag = flags.get(setting.dest) or None
        if flags.get(setting.dest) == "":
            flag = ""  # an empty text was said, and is refused later
        if setting.negatable and flags.get(setting.dest) is False:
            flag = False
        told = file.value(setting) if file is not None else None
        if setting.negatable and told is False:
            told = None  # the user alone takes back what was said before
        where = "" if file is None else file.source(setting.key)
        if setting.dest in ADDITIVE:
            if flag is not None:
                said[setting.dest] = flag
            rows.append(_together(setting, existing, told, where, flag))
            continue
        if flag is not None or told is not None:
            said[setting.dest] = flag if flag is not None else told
        rows.append(_first(setting, flag, told, where, existing, defaults))
    return Merged(said, tuple(rows))


def _first(
    setting: Setting,
    flag: Any,
    told: Any,
    where: str,
    existing: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Row:
    candidates = (
        (flag, "flag"),
        (told, where),
        (existing.get(setting.dest), "claw.json"),
    )
    for value, source in candidates:
        if value is not None:
            return Row(setting.key, value, source)
    return Row(setting.key, defaults.get(setting.dest), "default")


def _together(
    setting: Setting,
    existing: Mapping[str, Any],
    told: Any,
    where: str,
    flag: Sequence[str] | None,
) -> Row:
    parts = (
        (existing.get(setting.dest), "secrets.json"),
        (told, where),
        (flag, "flag"),
    )
    given = [(list(value), source) for value, source in parts if value]
    values: list[str] = [text for value, _ in given for text in value]
    if setting.dest == "env":
        # The last one of a name counts; values may be secrets.
        values = list({masked(text).partition("=")[0]: masked(text) for text in values}.values())
    return Row(setting.key, values or None, ", ".join(source for _, source in given) or "default")


def masked(variable: str) -> str:
    """KEY=VALUE without its value: `KEY=…`; KEY alone stays as it is."""
    key, equals, _ = variable.partition("=")
    return f"{key}=…" if equals else key
