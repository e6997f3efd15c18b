"""vclaw resume: let a suspended claw go on."""

from __future__ import annotations

import argparse

from vclaw.claws import lifecycle, record
from vclaw.claws.prepare import Prepared
from vclaw.cli import run as run_verb
from vclaw.cli import start
from vclaw.home import Home
from vclaw.progress import for_stderr


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw resume`."""
    parser.epilog = "examples:\n  vclaw resume my-claw\n  vclaw resume my-claw --no-wait"
    start.add_flags(parser)
    parser.add_argument("--no-wait", action="store_true", help="return once the guest goes on")


def run(args: argparse.Namespace) -> int:
    """Let it go on and wait until it is ready."""
    paths = record.existing(Home.from_env(), args.clawid)
    timeout = run_verb.seconds(args.ready_timeout_secs)
    lifecycle.resume(paths, timeout, for_stderr(), wait=not args.no_wait)
    claw = Prepared(record.load(paths), paths, fresh=False)
    run_verb.show(claw, ready=not args.no_wait, json=args.json)
    return 0
