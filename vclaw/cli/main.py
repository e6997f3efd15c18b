"""Finds the verb, imports its module alone, and turns every failure into two sentences."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from vclaw.errors import VclawError, of_system

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import NoReturn

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
    "fork": "make twins of a claw, each with its own identity",
    "rm": "remove a claw and its disk",
    "image": "list, fetch and remove images",
    "template": "list and remove the booted guests that claws begin from",
    "prune": "free the disk space of what no claw uses",
    "doctor": "check whether this host can run claws",
    "verify": "check a claw or an image again, without any server",
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

LINES = "\n\t"
"""What may shape an error's text; anything else in it could be the guest's."""

INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM: 128 + SIGINT, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (failed), 2 (bad input) or 130."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A file's name may be no text at all, and a damaged record may hold anything.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _dispatch(words)
    except VclawError as error:
        return _tell(error)
    except KeyboardInterrupt:
        print("vclaw: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        return _tell(of_system(error))
    except Exception as error:
        if os.environ.get("VCLAW_DEBUG"):
            raise
        print(f"vclaw: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("       Run it again with VCLAW_DEBUG=1 and report what it prints.", file=sys.stderr)
        return 1


def program() -> NoReturn:
    """The installed command: `main`, and an end without the interpreter's farewell.

    To take every module apart takes a tenth of the time of a short command.
    """
    status = main()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BrokenPipeError:
        status = _reader_left()
    except OSError as error:
        status = _tell(of_system(error))
    os._exit(status)


def _tell(error: VclawError) -> int:
    from vclaw.cli.output import plain

    print(f"vclaw: {plain(error.message, LINES)}", file=sys.stderr)
    if error.hint:
        print(f"       {plain(error.hint, LINES)}", file=sys.stderr)
    return error.exit_status


def _reader_left() -> int:
    """Nobody reads stdout any more (`vclaw ps | head`): nothing is left to say to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _dispatch(words: list[str]) -> int:
    if words == ["ps"]:
        # Asked most, and with nothing to parse: argparse takes as long as all the rest of it.
        from vclaw.cli import ps

        return ps.show()
    if words[:1] == ["exec"]:
        from vclaw.cli import exec as exec_verb

        done = exec_verb.at_once(words[1:])
        if done is not None:
            return done
    from vclaw.cli.parser import build_parser

    chosen = next((word for word in words if not word.startswith("-")), None)
    # Two dozen parsers take longer to make than an answer may: all are made where one may be
    # asked about the others.
    shown = {chosen: VERBS[chosen]} if chosen in VERBS and words[0] == chosen else VERBS
    parser, modules = build_parser((chosen,), shown)
    args = parser.parse_args(words)
    status: int = modules[args.verb].run(args)  # argparse exits with 2 where there is no verb
    return status


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
