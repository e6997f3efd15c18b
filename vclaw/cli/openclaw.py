"""vclaw openclaw: OpenClaw's own command line in a claw's guest."""

from __future__ import annotations

import argparse

from vclaw import ssh
from vclaw.claws import access
from vclaw.cli import exec as exec_verb
from vclaw.home import Home

LAUNCHER = ("sudo", "-n", "/bin/sh", "/run/vclaw/seed/vclaw/openclaw.sh")
"""Runs OpenClaw's command line with the gateway's environment; see vclaw/guest/openclaw.sh."""

EXAMPLES = """\
It runs with the gateway's environment and its state, which survives stop and start, and on a
terminal where there is one.

examples:
  vclaw openclaw my-claw -- channels login
  vclaw openclaw my-claw -- plugins list
  vclaw openclaw my-claw -- doctor
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw openclaw`."""
    parser.usage = "vclaw openclaw CLAWID -- [ARG ...]"
    parser.epilog = EXAMPLES
    exec_verb.add_command(parser)


def run(args: argparse.Namespace) -> int:
    """Run it, on a terminal where there is one, and return its exit status."""
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    paths, spec = access.running(Home.from_env(), args.clawid)
    return ssh.run(paths, spec, [*LAUNCHER, *words], tty=exec_verb.on_terminal())
