"""vclaw suspend: pause a claw where it stands, in memory or on the disk."""

from __future__ import annotations

import argparse

from vclaw.claws import lifecycle, record
from vclaw.home import Home
from vclaw.progress import for_stderr

EXAMPLES = """\
examples:
  vclaw suspend my-claw            its memory stays; `vclaw resume` goes on at once
  vclaw suspend my-claw --to-disk  its memory is freed, and it outlives a reboot of this host

--to-disk stops OpenClaw, which `vclaw resume` starts again; all else in the guest goes on where
it stood. The guest must not use /workspace or OpenClaw's state meanwhile: who does is named.
A claw on the disk has no PID in `vclaw ps`; `vclaw stop` gives its memory up and keeps its disk.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw suspend`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument(
        "--to-disk", action="store_true", help="write its memory to the disk and end its machine"
    )


def run(args: argparse.Namespace) -> int:
    """Pause it."""
    paths = record.existing(Home.from_env(), args.clawid)
    if args.to_disk:
        lifecycle.suspend_to_disk(paths, for_stderr())
        print(f"{args.clawid}: suspended to the disk")
    else:
        lifecycle.suspend(paths, for_stderr())
        print(f"{args.clawid}: suspended")
    return 0
