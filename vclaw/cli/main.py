"""Finds the verb, imports its module alone, and turns every failure into two sentences."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Container, Mapping, Sequence
from types import FrameType, ModuleType
from typing import NoReturn

from vclaw import __version__
from vclaw.errors import UsageError, VclawError

VERBS = {
    "run": "boot a claw and wait until OpenClaw is ready",
    "ps": "list claws and what is true of each now",
    "inspect": "show everything that is known of a claw",
    "timeline": "show or draw where a claw's time went",
    "open": "print or open the address of a claw's Control UI",
    "agent": "give a claw's agent one message and print its answer",
    "exec": "run a command in a claw",
    "shell": "work in a claw's shell",
    "cp": "copy files and folders into a claw and back",
    "logs": "show what the gateway, the guest and QEMU wrote",
    "openclaw": "run OpenClaw's own command line in a claw",
    "env": "set, remove and list a claw's variables, such as providers' keys",
    "port": "let ports of this host lead into a claw, while it runs",
    "ssh-config": "print a claw's settings for ssh and editors",
    "start": "boot a stopped claw again, with its disk and state",
    "stop": "power a claw off",
    "suspend": "pause a claw where it stands",
    "resume": "let a suspended claw go on",
    "rm": "remove a claw and its disk",
    "image": "list, fetch and remove images",
    "prune": "free the disk space of what no claw uses",
    "doctor": "check whether this host can run claws",
    "init": "write a commented vclaw.yaml",
    "config": "show every setting of a run and where it comes from",
    "allow": "approve what a project's vclaw.yaml asks of this host",
    "completion": "print the completion script of a shell",
    "doit": "run single stages of the pipeline",
}
"""Verb -> what it does; the verb's module is `vclaw.cli.<verb>`."""

EXAMPLES = """\
examples:
  vclaw run                                   the current folder, the default image
  vclaw run ubuntu:24.04 --workspace=. --publish 8080:80
  vclaw ps
  vclaw rm my-claw

Each verb explains itself: vclaw run --help
"""

INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM: 128 + SIGINT, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (failed), 2 (bad input) or 130."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _dispatch(words)
    except VclawError as error:
        print(f"vclaw: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"       {error.hint}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("vclaw: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        where = f"{error.filename}: " if error.filename else ""
        print(f"vclaw: {where}{error.strerror or error}.", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("VCLAW_DEBUG"):
            raise
        print(f"vclaw: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("       Run it again with VCLAW_DEBUG=1 and report what it prints.", file=sys.stderr)
        return 1


def _reader_left() -> int:
    """Nobody reads stdout any more (`vclaw ps | head`): nothing is left to say to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


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


def _dispatch(words: list[str]) -> int:
    chosen = next((word for word in words if not word.startswith("-")), None)
    # Two dozen parsers take longer to make than `vclaw ps` has: all are made where one may be
    # asked about the others.
    shown = {chosen: VERBS[chosen]} if chosen in VERBS and words[0] == chosen else VERBS
    parser, modules = build_parser((chosen,), shown)
    args = parser.parse_args(words)
    status: int = modules[args.verb].run(args)  # argparse exits with 2 where there is no verb
    return status


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


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
