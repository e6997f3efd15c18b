"""vclaw timeline: where a claw's time went, from fetch to ready."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from vclaw import fsutil, timeline
from vclaw.claws import record
from vclaw.cli import output
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.timeline import Record

EXAMPLES = """\
It tells of the last boot by `vclaw run` or `vclaw start`:
  host     the stages of the pipeline; a cached one had nothing to do
  guest    kernel and system, then the steps that apply the claw's settings
  checks   what the wait was for: each check from when the one before it held

examples:
  vclaw timeline my-claw
  vclaw timeline my-claw --svg boot.svg      a picture, for any browser
  vclaw timeline my-claw --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw timeline`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("--svg", metavar="FILE", help="draw it into this file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table, or draw the picture."""
    paths = record.existing(Home.from_env(), args.clawid)
    known = timeline.load(paths)
    if known is None or not known.stages:
        raise UsageError(
            f"No boot of {args.clawid} was timed yet.",
            f"`vclaw run --name {args.clawid}` and `vclaw start {args.clawid}` do that.",
        )
    if args.svg is not None:
        _draw(Path(args.svg), known, args.clawid)
    if args.json:
        output.as_json(_as_json(args.clawid, known))
    elif args.svg is None:
        _print(known)
    else:
        print(args.svg)
    return 0


def _draw(target: Path, known: Record, name: str) -> None:
    from vclaw import timeline_svg

    picture = timeline_svg.draw(known, name, _when(known))
    try:
        fsutil.write_atomic(target, picture.encode())
    except OSError as error:
        raise UsageError(
            f"The picture {target} cannot be written: {error.strerror}.",
            "Name a file in a folder that exists and can be written.",
        ) from None


def _when(known: Record) -> str:
    began = datetime.datetime.fromtimestamp(known.stages[0].start, datetime.UTC)
    return began.strftime("%Y-%m-%d %H:%M:%S UTC")


def _as_json(name: str, known: Record) -> dict[str, object]:
    return {
        "clawid": name,
        "began": _when(known),
        "phases": {phase: round(seconds, 3) for phase, seconds in timeline.phases(known)},
        "spans": [
            {
                "group": span.group,
                "name": span.name,
                "start": round(span.start, 3),
                "end": round(span.end, 3),
                "phase": span.phase,
                "outcome": span.outcome,
            }
            for span in timeline.spans(known)
        ],
    }


def _print(known: Record) -> None:
    print(f"time: {timeline.line(known)}")
    output.columns(
        ("PART", "NAME", "FROM", "TO", "SECONDS", "OUTCOME"),
        [
            (
                span.group,
                span.name,
                f"{span.start:.1f}",
                f"{span.end:.1f}",
                f"{span.end - span.start:.1f}",
                span.outcome,
            )
            for span in timeline.spans(known)
        ],
    )
