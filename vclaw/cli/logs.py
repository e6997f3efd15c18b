"""vclaw logs: what the gateway, the guest and the hypervisor wrote."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO

from vclaw import channel, ssh
from vclaw.claws import access, record
from vclaw.errors import UsageError
from vclaw.home import Home

UNITS = {"gateway": "openclaw.service", "bootstrap": "vclaw-seed.service"}
"""Logs that the guest's journal keeps -> the unit."""

FILES = {"serial": "serial_log", "qemu": "hypervisor_log"}
"""Logs that are files of the claw on this host -> their name in `ClawPaths`."""

ALL_LINES = 1_000_000

ANSWER_SECONDS = 60.0
"""An emulated guest takes its time to search its journal."""

POLL_SECONDS = 0.2

ESCAPES = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences, such as colours
    rb"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # strings to the terminal, such as its title
    rb"|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]"  # all other control characters
)
"""What a guest could steer a terminal with (ECMA-48); it is not shown on one."""

EXAMPLES = """\
The serial and QEMU logs are there for a stopped claw too.

examples:
  vclaw logs my-claw -n 50
  vclaw logs my-claw -f
  vclaw logs my-claw --serial
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw logs`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    which = parser.add_mutually_exclusive_group()
    for name, text in (
        ("gateway", "OpenClaw's gateway, from the guest's journal (the default)"),
        ("bootstrap", "how the guest took its settings, from its journal"),
        ("serial", "all that the guest printed on its console"),
        ("qemu", "what QEMU printed itself"),
    ):
        which.add_argument(
            f"--{name}", action="store_const", const=name, dest="log", default="gateway", help=text
        )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    parser.add_argument("-n", "--lines", metavar="N", help="only the last N lines")


def run(args: argparse.Namespace) -> int:
    """Print the log."""
    lines = count(args.lines)
    home = Home.from_env()
    if args.log in FILES:
        path = getattr(record.existing(home, args.clawid), FILES[args.log])
        return _show_file(path, lines, follow=args.follow)
    paths, spec = access.running(home, args.clawid)
    unit = UNITS[args.log]
    if args.follow:
        words = ["sudo", "-n", "journalctl", "--no-pager", "-o", "cat", "-f", "-u", unit]
        return ssh.run(paths, spec, [*words, "-n", str(lines)])
    # Over the guest's channel: it answers where SSH does not work yet.
    answer = channel.ask(paths.channel, "journal", ANSWER_SECONDS, unit=unit, lines=lines)
    _write(str(answer["text"]).encode())
    return 0


def count(text: str | None) -> int:
    """-n as a number, all lines by default; raises UsageError."""
    if text is None:
        return ALL_LINES
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"-n is {text!r}.", "Give a number of lines, 0 or more.")
    return min(int(text[:9]), ALL_LINES)


def _show_file(path: Path, lines: int, *, follow: bool) -> int:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(
            f"There is no log {path} yet.", "It begins when the claw is started."
        ) from None
    with file:
        for line in file if lines == ALL_LINES else deque(file, maxlen=lines):
            _write(line)
        try:
            while follow:
                _write_rest(file)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            return ssh.INTERRUPTED
    return 0


def _write_rest(file: IO[bytes]) -> None:
    """Print what was added; a file that is shorter now was begun anew."""
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)
    _write(file.read())


def _write(data: bytes) -> None:
    if not data:
        return
    sys.stdout.buffer.write(plain(data) if sys.stdout.isatty() else data)
    sys.stdout.buffer.flush()


def plain(data: bytes) -> bytes:
    """A log as a terminal may show it: lines and tabs, nothing that steers the terminal."""
    return ESCAPES.sub(b"", data)
