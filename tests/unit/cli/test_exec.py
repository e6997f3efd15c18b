"""What follows the claw's name on `vclaw exec`'s command line."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from vclaw import ssh
from vclaw.cli import exec as exec_verb
from vclaw.paths import ClawPaths


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


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["demo"],
        ["demo", "--"],
        ["demo", "ls"],
        ["demo", "-t", "--", "ls"],
        ["-t", "demo", "--", "ls"],
        ["--help"],
        ["../instances/demo", "--", "ls"],
        ["other", "--", "ls"],
    ],
)
@pytest.mark.usefixtures("up")
def test_what_is_not_plainly_a_command_for_a_claw_is_left_to_the_parser(
    paths: ClawPaths, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.ssh_control.touch()
    monkeypatch.setattr(ssh, "session", lambda *_: pytest.fail("it was run"))
    assert exec_verb.at_once(words) is None


@pytest.mark.parametrize("lost", ["run", "ssh_control", "spec"])
@pytest.mark.usefixtures("up")
def test_a_claw_that_is_not_plainly_at_work_is_judged_first(
    paths: ClawPaths, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(ssh, "session", lambda _f, _c, words: [ran.append(words), 7][1])
    paths.ssh_control.touch()
    assert exec_verb.at_once(["demo", "--", "ls", "-l"]) == 7
    assert ran == [["ls", "-l"]]
    paths.suspended.touch()
    assert exec_verb.at_once(["demo", "--", "ls"]) is None
    paths.suspended.unlink()
    getattr(paths, lost).unlink()
    assert exec_verb.at_once(["demo", "--", "ls"]) is None


def test_a_command_over_a_connection_that_stands_imports_little() -> None:
    """Each of these takes milliseconds, a share of what a whole session takes."""
    heavy = ["argparse", "pathlib", "typing", "subprocess", "dataclasses", "socket"]
    script = (
        "import sys; before = set(sys.modules); from vclaw.cli import main, exec; "
        "from vclaw.hypervisor import process; "
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
