"""vclaw shell: a login shell in a claw's guest."""

from __future__ import annotations

import argparse

from vclaw import ssh
from vclaw.claws import access
from vclaw.cli.exec import on_terminal
from vclaw.home import Home

EXAMPLES = """\
The shell is the guest's bash, in /workspace. Without a terminal it reads a script.

examples:
  vclaw shell my-claw
  vclaw shell my-claw <setup.sh
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw shell`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")


def run(args: argparse.Namespace) -> int:
    """Run the shell and return its exit status."""
    paths, spec = access.running(Home.from_env(), args.clawid)
    return ssh.run(paths, spec, ["bash", "-l"], tty=on_terminal())
