"""vclaw start: boot a stopped claw again."""

from __future__ import annotations

import argparse

from vclaw.claws import launch, record
from vclaw.cli import run as run_verb
from vclaw.config import READY_TIMEOUT_SECS, again
from vclaw.home import Home
from vclaw.progress import for_stderr

EXAMPLES = """\
examples:
  vclaw start my-claw
  vclaw start my-claw --no-wait
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw start`."""
    parser.epilog = EXAMPLES
    add_flags(parser)
    parser.add_argument("--no-wait", action="store_true", help="return once the machine runs")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What `start` and `resume` have in common."""
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument(
        "--ready-timeout-secs",
        metavar="S",
        default=str(READY_TIMEOUT_SECS),
        help=f"how long to wait for OpenClaw (default: {READY_TIMEOUT_SECS})",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the claw's stages again with what it was given before."""
    home = Home.from_env()
    timeout = run_verb.seconds(args.ready_timeout_secs)
    spec = record.load(record.existing(home, args.clawid))
    wait = not args.no_wait
    claw = launch.launch(home, again(spec), for_stderr(), wait=wait, timeout=timeout)
    run_verb.show(claw, ready=wait, json=args.json)
    return 0
