"""`python -m tests.bench.changes`: what the last bench says that a kept one did not.

A time means something beside another of the same machine alone. A ratio is of two things that met
the same machine, and so may be held against one from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import stages

REPORT = Path(".artifacts/bench.json")
BASELINE = Path(__file__).with_name("baseline.json")

SAME = 0.05
"""A part of a ratio: what changed by less is as it was, for such a few rounds."""

EMPTY: dict[str, Any] = {"machine": {}, "results": []}


@dataclass(frozen=True)
class Change:
    """One comparison, then and now; times are seconds, None where they cannot be held together."""

    what: str
    against: str
    ratio_then: float
    ratio_now: float
    time_then: float | None
    time_now: float | None
    limit: float | None

    @property
    def verdict(self) -> str:
        """What to think of it, in a word."""
        if self.limit is not None and self.ratio_now > self.limit:
            return "over its limit"
        moved = _quotient(self.ratio_now, self.ratio_then)
        if moved is None or abs(moved - 1) < SAME:
            return ""
        return "more" if moved > 1 else "less"


def read(path: Path) -> dict[str, Any]:
    """A report, an empty one where there is none."""
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return EMPTY
    return value


def other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The facts in which two reports' machines differ, as `cpu: A -> B`."""
    old, new = then["machine"], now["machine"]
    return [
        f"{name}: {old.get(name, '?')} -> {new.get(name, '?')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """All that both reports measured, in the order of `now`."""
    known = {_key(result): result for result in then["results"]}
    alike = not other_machine(then, now)
    return [
        Change(
            result["what"],
            result["against"],
            known[_key(result)]["ratio"],
            result["ratio"],
            known[_key(result)]["ours_median"] if alike else None,
            result["ours_median"] if alike else None,
            result["limit"],
        )
        for result in now["results"]
        if _key(result) in known
    ]


def kept(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline after `now`: what was measured anew replaces what it held of the same.

    What another machine measured is left behind: one baseline is of one machine. A bench that has
    been measured anew is there with its new parts alone.
    """
    if other_machine(then, now):
        return dict(now)
    fresh = {_bench(result) for result in now["results"]}
    rest = [result for result in then["results"] if _bench(result) not in fresh]
    return {**now, "results": [*rest, *now["results"]]}


def text(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed, as a table, and what could not be compared."""
    from tabulate import tabulate

    found = changes(then, now)
    lines = []
    if found:
        rows = [_row(change) for change in found]
        headers = ("WHAT", "AGAINST", "RATIO THEN", "NOW", "NOW/THEN", "TIME NOW/THEN", "")
        lines.append(str(tabulate(rows, headers=headers, disable_numparse=True)))
    else:
        lines.append("Nothing was measured both then and now.")
    differ = other_machine(then, now)
    if differ and then["results"]:
        lines.append("Times are not compared, another machine was measured: " + "; ".join(differ))
    known = {_key(result) for result in then["results"]}
    new = [result["what"] for result in now["results"] if _key(result) not in known]
    if new:
        lines.append("Not in the baseline: " + ", ".join(new))
    return "\n".join(lines)


def _row(change: Change) -> tuple[str, ...]:
    times = _quotient(change.time_now, change.time_then)
    return (
        change.what,
        change.against,
        f"{change.ratio_then:.3f}",
        f"{change.ratio_now:.3f}",
        _shown(_quotient(change.ratio_now, change.ratio_then)),
        _shown(times),
        change.verdict,
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _quotient(now: float | None, then: float | None) -> float | None:
    return now / then if now is not None and then else None


def _key(result: Mapping[str, Any]) -> tuple[str, str]:
    return str(result["what"]), str(result["against"])


BOOTS = ("boot", "host", "guest", "gateway", *stages.DETAILS)
"""How the names of the bench `boot` begin, before a colon."""


def _bench(result: Mapping[str, Any]) -> str:
    """Results of one bench, where that has many: parts of a boot that are none any more go too."""
    begin = str(result["what"]).partition(":")[0]
    return "boot" if begin in BOOTS and ":" in str(result["what"]) else str(_key(result))


def main() -> int:
    """Print what changed; 1 where there is nothing to compare, 2 where no bench was run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.changes", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, default=REPORT)
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    args = parser.parse_args()
    for path, how in ((args.report, "make bench"), (args.baseline, "make bench-baseline")):
        if not path.exists():
            print(f"There is no {path}: `{how}` writes it.", file=sys.stderr)
            return 2
    then, now = read(args.baseline), read(args.report)
    print(text(then, now))
    return 0 if changes(then, now) else 1


if __name__ == "__main__":
    sys.exit(main())
