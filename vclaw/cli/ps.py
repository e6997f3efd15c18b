"""vclaw ps: every claw and what is true of it now."""

from __future__ import annotations

from vclaw import layout
from vclaw.claws import glance
from vclaw.cli import output

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    import argparse
    from typing import Any

EXAMPLES = """\
STATUS is asked of the world at every call:
  booting    its virtual machine runs, and OpenClaw does not answer yet
  running    OpenClaw answers and is not ready yet, or was ready and is too busy to answer
  ready      OpenClaw is ready
  suspended  paused; `vclaw resume` lets it go on. Without a PID its memory is on the disk
  unhealthy  it was ready, or should have been, and is not; LAST_ERROR says more
  stopped    not running; `vclaw start` boots it
  exited     its virtual machine ended by itself
  broken     its files cannot be read; LAST_ERROR says why

examples:
  vclaw ps
  vclaw ps --json | jq -r '.[] | select(.status == "ready") | .name'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw ps`."""
    parser.epilog = EXAMPLES
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def run(args: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    return show(json=args.json)


def show(*, json: bool = False) -> int:
    """Print the claws."""
    claws = _claws()
    if json:
        output.as_json(claws)
        return 0
    output.columns(
        ("CLAWID", "IMAGE", "STATUS", "GATEWAY", "PID", "UPDATED(UTC)", "LAST_ERROR"),
        [
            (
                claw["name"],
                claw["image"],
                claw["status"],
                claw["gateway"],
                claw["pid"] or "-",
                claw["updated"],
                claw["last_error"] or "-",
            )
            for claw in claws
        ],
    )
    return 0


def _claws() -> list[dict[str, Any]]:
    """What is true of each, as JSON has it."""
    if glance.unfinished(f"{layout.cache_folder()}/{layout.TEMPLATES}"):
        # Root's maker of a template, when it is killed, leaves a guest that is no claw.
        from vclaw.home import Home
        from vclaw.templates import store

        store.sweep(Home.from_env())
    rows = glance.rows(f"{layout.data_folder()}/{layout.INSTANCES}")
    unknown = [name for name, row in rows.items() if row is None]
    if unknown:
        from dataclasses import asdict

        from vclaw.claws import status
        from vclaw.home import Home

        rows |= {claw.name: asdict(claw) for claw in status.all_of(Home.from_env(), unknown)}
    # One that is None still was removed while it was looked at: it is no claw any more.
    return [row for row in rows.values() if row is not None]
