"""vclaw exec: run a command in a claw's guest."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vclaw import layout, ssh
from vclaw.claws import glance
from vclaw.errors import UsageError

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    import argparse

EXAMPLES = """\
The command runs in /workspace as the guest's user, who may use sudo. Its streams are yours and
its exit status is that of vclaw; one that a signal ended has 128 and the signal's number. Ctrl-C
ends it in the guest; a second one sends SIGTERM, a third SIGKILL.

examples:
  vclaw exec my-claw -- make test
  vclaw exec my-claw -- sh -c 'ls | wc -l'          a pipe in the guest
  vclaw exec my-claw -- tar -cz . >project.tar.gz
  vclaw exec my-claw -t -- htop
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw exec`."""
    parser.usage = "vclaw exec CLAWID [-t] -- CMD [ARG ...]"
    parser.epilog = EXAMPLES
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    add_command(parser)


def add_command(parser: argparse.ArgumentParser) -> None:
    """A claw and the words of a command; all that follows the claw is left as it is."""
    import argparse

    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("words", metavar="-- CMD", nargs=argparse.REMAINDER)


def split(words: Sequence[str]) -> tuple[bool, list[str]]:
    """(whether a terminal is asked for, the command) of what follows the claw's name.

    argparse knows flags before the claw's name alone, once it leaves all that follows as it is.
    """
    rest = list(words)
    tty = False
    while rest and rest[0] in ("-t", "--tty"):
        tty = True
        rest.pop(0)
    return tty, rest[1:] if rest[:1] == ["--"] else rest


def run(args: argparse.Namespace) -> int:
    """Run it and return its exit status."""
    asked, words = split(args.words)
    tty = asked or args.tty
    if not words:
        raise UsageError("There is no command.", "vclaw exec CLAWID -- CMD [ARG ...]")
    if tty and not sys.stdin.isatty():
        raise UsageError("-t needs a terminal, and standard input is none.", "Leave out -t.")
    from vclaw.claws import access
    from vclaw.home import Home

    paths, spec = access.running(Home.from_env(), args.clawid)
    return ssh.run(paths, spec, words, tty=tty)


def at_once(words: Sequence[str]) -> int | None:
    """Run `CLAWID -- CMD…`, the words after `exec`; None where it is not as simple as that.

    What parses other words, and judges a claw, takes as long to import as all the rest of it.
    """
    name, command = words[0] if words else "", list(words[2:])
    if not command or words[1] != "--" or name.startswith("-") or "/" in name:
        return None
    folder = f"{layout.data_folder()}/{layout.INSTANCES}/{name}"
    claw = glance.at_work(folder)
    if claw is None:
        return None
    return ssh.session(layout.SshFiles(folder), claw, command)


def on_terminal() -> bool:
    """Whether a person sits there, so that a command that may ask something gets a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()
