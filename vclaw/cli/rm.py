"""vclaw rm: remove a claw, its disk and its own state; nothing that lies outside of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vclaw.claws import lifecycle, record
from vclaw.cli import output
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.paths import absolute
from vclaw.progress import for_stderr
from vclaw.templates import store as templates

EXAMPLES = """\
examples:
  vclaw rm my-claw
  vclaw rm my-claw --keep-state ./openclaw-state
  vclaw rm my-claw --yes --force
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw rm`."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("clawid", metavar="CLAWID", nargs="+")
    add("--yes", action="store_true", help="do not ask before OpenClaw's state is deleted")
    add("--keep-state", metavar="DIR", help="move OpenClaw's state to this new folder first")
    add("--force", action="store_true", help="end its virtual machine without asking the guest")


def run(args: argparse.Namespace) -> int:
    """Remove every claw that was named; on a terminal, ask first."""
    home = Home.from_env()
    record.sweep(home)
    claws = [record.existing(home, name) for name in args.clawid]
    keep = absolute(args.keep_state) if args.keep_state else None
    if keep is not None and len(claws) > 1:
        raise UsageError(
            "--keep-state names one folder, and there are several claws.", "Remove them one by one."
        )
    for paths in claws:
        name = paths.root.name
        # Where the state is outside, the claw's own folder for it is not there.
        if sys.stdin.isatty() and not args.yes and keep is None and any_state(paths.state):
            question = f"Delete {name} with OpenClaw's state (sessions, memory, logins)?"
            if not output.confirm(question):
                print(f"{name}: kept")
                continue
        lifecycle.remove(paths, for_stderr(), force=args.force, keep_state=keep)
        print(f"{name}: removed")
    templates.sweep(home)
    return 0


def any_state(state: Path) -> bool:
    """Whether there is anything in OpenClaw's state folder."""
    return state.is_dir() and any(state.iterdir())
