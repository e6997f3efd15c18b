"""The parsers of the verbs, made of argparse."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Container, Mapping
from types import ModuleType

from vclaw import __version__
from vclaw.cli.main import EXAMPLES, VERBS
from vclaw.errors import UsageError

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import NoReturn


class Help(argparse.RawDescriptionHelpFormatter):
    """argparse's help, with a width of its own: argparse imports shutil to learn the terminal's."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 100
        super().__init__(prog, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """argparse, but its complaints are two sentences like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError for what could not be parsed."""
        raise UsageError(
            f"{message[0].upper()}{message[1:]}.", f"`{self.prog} --help` shows what is understood."
        )


def build_parser(
    wanted: Container[str | None], shown: Mapping[str, str] = VERBS
) -> tuple[Parser, dict[str, ModuleType]]:
    """The parser of the verbs `shown`, and the modules of those `wanted`, whose flags it knows."""
    parser = Parser(
        prog="vclaw",
        description="Run the OpenClaw agent in a real virtual machine with your project mounted.",
        epilog=EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"vclaw {__version__}")
    # Without `prog` argparse formats its own usage to learn it, which imports half of shutil.
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, prog="vclaw")
    modules = {}
    for verb, summary in shown.items():
        sub = verbs.add_parser(
            verb,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=Help,
        )
        if verb in wanted:
            modules[verb] = importlib.import_module(f"vclaw.cli.{verb.replace('-', '_')}")
            modules[verb].configure(sub)
    return parser, modules
