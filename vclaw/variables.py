"""Variables for OpenClaw as users write them: KEY=VALUE, or KEY alone for the host's own value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vclaw.errors import UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def of_files(names: Sequence[str], host: Mapping[str, str]) -> dict[str, str]:
    """The variables of environment files, a later file's win; raises UsageError."""
    found: dict[str, str] = {}
    for name in names:
        try:
            text = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(
                f"The environment file {name} cannot be read: {reason}.", "Name a readable file."
            ) from None
        found.update(resolve(where, line, host) for where, line in lines_of(name, text))
    return found


def lines_of(name: str, text: str) -> list[tuple[str, str]]:
    """The variables of an environment file as (where, KEY[=VALUE]); # begins a comment."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(f"{name}, line {n}:", line) for n, line in lines if line and not line.startswith("#")]


def split(where: str, text: str) -> tuple[str, str | None]:
    """KEY=VALUE as (KEY, VALUE), KEY alone as (KEY, None); raises UsageError."""
    key, equals, value = text.partition("=")
    if NAME.fullmatch(key) is None:
        # A file's line is not quoted: it may be a secret, or of a file that is none of variables.
        shown = repr(text) if where == "--env" else "this"
        raise UsageError(f"{where} {shown} names no variable.", "Write KEY=VALUE, or KEY alone.")
    check_value(where, key, value)
    return key, value if equals else None


def check_value(where: str, key: str, value: str) -> None:
    """Raise UsageError, which does not show it, for a value that no variable can have."""
    if "\0" in value:
        raise UsageError(f"{where} {key} holds a zero byte.", "Give it a text.")
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of the command line or the environment that are no text
        raise UsageError(f"{where} {key} is not UTF-8.", "Give it a text.") from None


def resolve(where: str, text: str, host: Mapping[str, str]) -> tuple[str, str]:
    """One variable with its value, the host's where none is written; raises UsageError."""
    key, value = split(where, text)
    if value is not None:
        return key, value
    if key not in host:
        raise UsageError(
            f"{where} {key} has no value here.", f"Set {key} before, or write {key}=VALUE."
        )
    check_value(where, key, host[key])
    return key, host[key]
