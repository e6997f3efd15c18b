"""vclaw completion: print the script that lets a shell complete vclaw's words."""

from __future__ import annotations

import argparse

from vclaw import completion
from vclaw.errors import UsageError
from vclaw.home import Home

EXAMPLES = """\
It completes verbs, flags, files, the CLAWIDs there are and image references.

bash   source <(vclaw completion bash)                      in ~/.bashrc
zsh    vclaw completion zsh > ~/.zfunc/_vclaw               with fpath+=~/.zfunc before compinit
fish   vclaw completion fish > ~/.config/fish/completions/vclaw.fish
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw completion`."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("shell", nargs="?", choices=completion.SHELLS, metavar="SHELL", help="bash, zsh or fish")
    # Asked by the scripts themselves.
    add("--words", choices=completion.WORDS, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Print the script, or the words that a script asks for."""
    if args.words is not None:
        print("\n".join(completion.words(Home.from_env(), args.words)))
        return 0
    if args.shell is None:
        raise UsageError(
            "No shell is named.", f"Name one: vclaw completion {'|'.join(completion.SHELLS)}"
        )
    from vclaw.cli.main import VERBS
    from vclaw.cli.parser import build_parser

    parser, _ = build_parser(VERBS)
    print(completion.script(parser, args.shell), end="")
    return 0
