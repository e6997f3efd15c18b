"""vclaw ssh-config: how ssh and editors reach a claw's guest."""

from __future__ import annotations

import argparse

from vclaw import ssh
from vclaw.claws import record
from vclaw.home import Home

EXAMPLES = """\
It is printed for a stopped claw too. The port may be another one after `vclaw run`.

examples:
  vclaw ssh-config my-claw >>~/.ssh/config     then: ssh vclaw-my-claw
  vclaw ssh-config my-claw >claw.ssh && rsync -e 'ssh -F claw.ssh' -a src/ vclaw-my-claw:src/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw ssh-config`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")


def run(args: argparse.Namespace) -> int:
    """Print a Host block of ssh_config(5)."""
    paths = record.existing(Home.from_env(), args.clawid)
    print(ssh.config_text(paths, record.load(paths)), end="")
    return 0
