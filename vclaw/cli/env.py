"""vclaw env: a claw's variables, which are secrets: set, removed, listed without their values."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from vclaw import identity, variables
from vclaw.claws import environment, record
from vclaw.cli import output
from vclaw.cli.parser import Help
from vclaw.config import READY_TIMEOUT_SECS
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.paths import ClawPaths
from vclaw.progress import for_stderr

EXAMPLES = """\
examples:
  vclaw env my-claw set ANTHROPIC_API_KEY            this shell's value, or you are asked for it
  vclaw env my-claw set TELEGRAM_BOT_TOKEN --stdin <token.txt
  vclaw env my-claw set --env-file .env
  vclaw env my-claw set LOG_LEVEL=debug
  vclaw env my-claw unset LOG_LEVEL
  vclaw env my-claw ls

They are kept in a file that only you can read. While the claw runs, OpenClaw is restarted with
them (a turn that is under way is cut off), and waited for; the machine is not. Others on this
host may see the words of a command while it runs: write KEY without a value where it is a secret.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw env`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    verbs = parser.add_subparsers(dest="env_verb", metavar="ACTION", required=True)
    add = verbs.add_parser("set", help="set variables", formatter_class=Help)
    add.add_argument("words", nargs="*", metavar="KEY[=VALUE]", help="KEY alone: as in examples")
    add.add_argument(
        "--env-file", metavar="FILE", action="append", default=[], help="variables, one a line"
    )
    add.add_argument("--stdin", action="store_true", help="the one KEY's value is read from stdin")
    remove = verbs.add_parser("unset", help="remove variables", formatter_class=Help)
    remove.add_argument("words", nargs="+", metavar="KEY")
    for verb in (add, remove):
        verb.epilog = EXAMPLES
        verb.add_argument(
            "--no-wait", action="store_true", help="return once OpenClaw is restarted"
        )
        verb.add_argument(
            "--ready-timeout-secs",
            metavar="S",
            default=str(READY_TIMEOUT_SECS),
            help=f"how long to wait for OpenClaw (default: {READY_TIMEOUT_SECS})",
        )
    ls = verbs.add_parser("ls", help="list the variables, without values", formatter_class=Help)
    ls.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    paths = record.existing(Home.from_env(), args.clawid)
    record.load(paths)  # a broken claw says so
    if args.env_verb == "ls":
        return _ls(paths, args.json)
    timeout = _timeout(args)
    if args.env_verb == "set":
        given = given_variables(args.words, args.env_file, stdin=args.stdin)
        return _change(paths, given, timeout, "set")
    for number, word in enumerate(args.words, 1):
        if variables.split(f"Word {number}:", word)[1] is not None:
            raise UsageError(f"Word {number} has a value.", "Give the names of variables alone.")
    return _change(paths, dict.fromkeys(args.words), timeout, "removed")


def _ls(paths: ClawPaths, as_json: bool) -> int:
    names = sorted(identity.load(paths).env)
    if as_json:
        output.as_json({"clawid": paths.root.name, "env": dict.fromkeys(names, identity.MASK)})
        return 0
    output.columns(("KEY", "VALUE"), [(name, identity.MASK) for name in names])
    return 0


def _change(
    paths: ClawPaths, wanted: Mapping[str, str | None], timeout: float | None, done: str
) -> int:
    name = paths.root.name
    if environment.change(paths, wanted, for_stderr(), timeout):
        print(f"{name}: {done} {', '.join(wanted)}")
    else:
        print(f"{name}: nothing to change, it is so already")
    return 0


def _timeout(args: argparse.Namespace) -> float | None:
    from vclaw.cli import run as run_verb

    seconds = run_verb.seconds(args.ready_timeout_secs)
    return None if args.no_wait else seconds


def given_variables(
    words: Sequence[str],
    files: Sequence[str],
    *,
    stdin: bool,
    host: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The variables to set: the files', then the words', which win; raises UsageError.

    Of a KEY alone the value is stdin's, the host's variable, or asked for on a terminal.
    """
    if not words and not files:
        raise UsageError("There is nothing to set.", "Write KEY, KEY=VALUE or --env-file FILE.")
    if stdin and (len(words) != 1 or "=" in words[0]):
        raise UsageError("--stdin is the value of one KEY.", "Name it, without a value.")
    found = variables.of_files(files, host)
    for number, word in enumerate(words, 1):
        where = f"Word {number}:"
        key, value = variables.split(where, word)
        if value is None and stdin:
            value = sys.stdin.read().removesuffix("\n")
        elif value is None and key not in host and sys.stdin.isatty():
            value = _ask(key)
        if value is None:
            key, value = variables.resolve(where, word, host)
        variables.check_value(where, key, value)
        found[key] = value
    return found


def _ask(key: str) -> str:
    from getpass import getpass

    try:
        value = getpass(f"{key}: ", sys.stderr)
    except EOFError:
        value = ""
    if not value:
        raise UsageError(f"No value was given for {key}.", f"Write {key}= for an empty one.")
    return value
