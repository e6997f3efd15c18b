"""What follows the claw's name on `vclaw exec`'s command line."""

from __future__ import annotations

import argparse

import pytest

from vclaw.cli import exec as exec_verb


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("demo -- ls -l", (False, ["ls", "-l"])),
        ("demo ls -l", (False, ["ls", "-l"])),
        ("demo -t -- ls -t", (True, ["ls", "-t"])),
        ("-t demo -- ls", (True, ["ls"])),
        ("demo --tty ls", (True, ["ls"])),
        ("demo -- ls -- -x", (False, ["ls", "--", "-x"])),
        ("demo", (False, [])),
    ],
)
def test_flags_and_command_are_told_apart(words: str, expected: tuple[bool, list[str]]) -> None:
    parser = argparse.ArgumentParser()
    exec_verb.configure(parser)
    args = parser.parse_args(words.split())
    tty, command = exec_verb.split(args.words)
    assert (args.clawid, (tty or args.tty, command)) == ("demo", expected)
