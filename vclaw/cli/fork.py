"""vclaw fork: twins of a claw, each with an identity of its own."""

from __future__ import annotations

import argparse

from vclaw import readiness
from vclaw.claws import fork, record
from vclaw.claws.prepare import Prepared
from vclaw.cli import output, start
from vclaw.cli import run as run_verb
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.paths import ClawPaths
from vclaw.progress import for_stderr

COUNT_MOST = 100

EXAMPLES = """\
examples:
  vclaw fork my-claw                          my-claw-2, or the next number that is free
  vclaw fork my-claw --name try --workspace ../copy
  vclaw fork my-claw --count 3 --name try     try-1, try-2 and try-3

A twin has a copy of the claw's disk, of OpenClaw's state and of its variables, and its own token,
SSH keys, machine-id and ports: the next free ones, published ports too. Without --workspace it
works in the same folder. Of a running claw it has the memory as well: what ran there besides
OpenClaw runs in both. OpenClaw starts anew in the twin, and in a claw that runs.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw fork`."""
    parser.epilog = EXAMPLES
    start.add_flags(parser)
    add = parser.add_argument
    add("--count", metavar="N", default="1", help="how many twins (default: 1)")
    add("--name", metavar="NAME", help="the twin's name; of several NAME-1, NAME-2 …")
    add("--workspace", metavar="DIR", help="the twins' workspace (default: the claw's)")
    add("--no-wait", action="store_true", help="return once the twins' machines run")


def run(args: argparse.Namespace) -> int:
    """Make the twins, let them begin and wait until they are ready."""
    home, progress = Home.from_env(), for_stderr()
    paths = record.existing(home, args.clawid)
    timeout = run_verb.seconds(args.ready_timeout_secs)
    wish = fork.Wish(_count(args.count), args.name, args.workspace)
    twins = fork.fork(home, paths, wish, progress)
    for twin in twins:
        fork.start(home, twin, progress)
    if not args.no_wait:
        for claw in (*twins, *([paths] if fork.is_up(paths) else [])):
            readiness.wait(claw, record.load(claw).gateway_port, timeout, progress)
    _show(twins, ready=not args.no_wait, json=args.json)
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= COUNT_MOST):
        raise UsageError(f"--count is {text!r}.", f"Give a number from 1 to {COUNT_MOST}.")
    return int(text)


def _show(twins: list[ClawPaths], *, ready: bool, json: bool) -> None:
    claws = [Prepared(record.load(twin), twin, fresh=True) for twin in twins]
    if json:
        facts = [run_verb.describe(claw, ready=ready, with_token=True) for claw in claws]
        output.as_json(facts)
        return
    for number, claw in enumerate(claws):
        if number:
            print()
        run_verb.show(claw, ready=ready, json=False)
