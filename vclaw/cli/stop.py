"""vclaw stop: power a claw off."""

from __future__ import annotations

import argparse

from vclaw.claws import lifecycle, record
from vclaw.home import Home
from vclaw.progress import for_stderr


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw stop`."""
    parser.epilog = "example:\n  vclaw stop my-claw    (its disk and state stay for `vclaw start`)"
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("--force", action="store_true", help="do not wait for the guest")


def run(args: argparse.Namespace) -> int:
    """Power it off."""
    paths = record.existing(Home.from_env(), args.clawid)
    lifecycle.stop(paths, for_stderr(), force=args.force)
    print(f"{args.clawid}: stopped")
    return 0
