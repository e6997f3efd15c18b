"""`python -m tests.bench [NAME …]`: measures, prints a table of ratios, writes bench.json.

`boot` writes bench-boot.json too; whole boots are measured with --run, or by their names.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import boot, changes, disk, fetch, host, own, ps, run, seed, session, template
from tests.bench.measure import Result

BENCHES: dict[str, Callable[[Path], Iterable[Result]]] = {
    "disk": disk.compare,
    "fetch": fetch.compare,
    "seed": seed.compare,
    "ps": ps.compare,
    "own": own.compare,
    "exec": session.compare,
    "run": run.compare,
    "boot": boot.compare,
    "template": template.compare,
}

SLOW = ("exec", "run", "boot", "template")
"""Measured only when asked for: a virtual machine boots, and most boots take minutes."""


def main() -> int:
    """Measure what was asked for; exit status 1 where a bench could not be done."""
    args = _arguments()
    names = args.names or [name for name in BENCHES if name not in SLOW or args.run]
    machine = host.facts()
    results: list[Result] = []
    failed = 0
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="vclaw-", dir=args.folder) as folder:
            try:
                found = list(BENCHES[name](Path(folder)))
            except subprocess.CalledProcessError as error:
                failed = 1
                print(f"{name}: {error}\n{_text(error.stderr)}", file=sys.stderr)
                continue
        results += found
        if name == "boot":
            write(args.output.with_name("bench-boot.json"), report(found, machine))
    print(table(results))
    measured = report(results, machine)
    write(args.output, measured)
    print(f"\nEvery time is in {args.output}.")
    if args.baseline:
        print("\n" + changes.text(changes.read(args.baseline), measured))
    if args.keep:
        write(args.keep, changes.kept(changes.read(args.keep), measured))
        print(f"Kept in {args.keep} for later comparisons.")
    return failed


def table(results: Iterable[Result]) -> str:
    """The results as text: medians, in seconds where nothing else is said."""
    from tabulate import tabulate

    rows = [
        (
            result.what,
            result.against,
            f"{statistics.median(result.ours):.3f}",
            f"{statistics.median(result.theirs):.3f}",
            f"{result.ratio:.2f}",
            "" if result.limit is None else f"{result.limit:.3g}",
            len(result.ours),
        )
        for result in results
    ]
    headers = ("WHAT", "AGAINST", "OURS", "THEIRS", "RATIO", "LIMIT", "ROUNDS")
    return str(tabulate(rows, headers=headers, disable_numparse=True))


def report(results: Iterable[Result], machine: Mapping[str, str | int]) -> dict[str, Any]:
    """The results as bench.json holds them: every time in seconds, and the machine."""
    return {
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "results": [
            {
                **asdict(result),
                "ours_median": round(statistics.median(result.ours), 4),
                "theirs_median": round(statistics.median(result.theirs), 4),
                "ratio": round(result.ratio, 4),
            }
            for result in results
        ],
    }


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--run", action="store_true", help="whole boots too, minutes each")
    parser.add_argument("--folder", type=Path, help="work on this file system")
    parser.add_argument("--output", type=Path, default=Path(".artifacts/bench.json"))
    add = parser.add_argument
    add("--baseline", type=Path, metavar="FILE", help="say what changed against this report")
    add("--keep", type=Path, metavar="FILE", help="put the results into this baseline")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}: choose from {', '.join(BENCHES)}")
    return args


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


if __name__ == "__main__":
    sys.exit(main())
