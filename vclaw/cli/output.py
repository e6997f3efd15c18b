"""What verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence


def columns(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print left-aligned columns, two blanks apart.

    Importing tabulate takes as long as the whole of `vclaw ps` may; its other tables do use it.
    """
    lines = [[plain(str(cell)) for cell in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def plain(text: str, keep: str = "") -> str:
    """A text as a terminal may show it: what a guest or a damaged file says steers nothing.

    Unprintable characters become question marks, those in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def as_json(value: object) -> None:
    """Print a value as JSON, for scripts."""
    json.dump(value, sys.stdout, indent=2)
    print()


def confirm(question: str) -> bool:
    """Ask on the terminal; anything but y or yes is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
