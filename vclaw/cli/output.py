"""What verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a plain table."""
    from tabulate import tabulate

    print(tabulate(list(rows), headers=headers, tablefmt="plain", disable_numparse=True))


def as_json(value: object) -> None:
    """Print a value as JSON, for scripts."""
    json.dump(value, sys.stdout, indent=2)
    print()


def confirm(question: str) -> bool:
    """Ask on the terminal; anything but y or yes is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
