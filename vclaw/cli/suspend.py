"""vclaw suspend: pause a claw where it stands."""

from __future__ import annotations

import argparse

from vclaw.claws import lifecycle, record
from vclaw.paths import Home
from vclaw.progress import for_stderr


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw suspend`."""
    parser.epilog = (
        "example:\n  vclaw suspend my-claw    (its memory stays; `vclaw resume` goes on)"
    )
    parser.add_argument("clawid", metavar="CLAWID")


def run(args: argparse.Namespace) -> int:
    """Pause it."""
    paths = record.existing(Home.from_env(), args.clawid)
    lifecycle.suspend(paths, for_stderr())
    print(f"{args.clawid}: suspended")
    return 0
