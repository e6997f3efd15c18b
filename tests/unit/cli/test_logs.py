"""`vclaw logs`: files of the host, and what a guest may not do to a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.support.command import VCLAW
from vclaw.cli import logs
from vclaw.cli.main import main
from vclaw.home import Home
from vclaw.paths import ClawPaths


@pytest.mark.parametrize(
    ("words", "printed"),
    [([], "1\n2\n3\n"), (["-n", "2"], "2\n3\n"), (["-n", "0"], ""), (["-n", "99"], "1\n2\n3\n")],
)
@pytest.mark.parametrize("log", ["serial", "qemu"])
def test_the_last_lines_of_a_stopped_claws_files_are_printed(
    log: str,
    words: list[str],
    printed: str,
    paths: ClawPaths,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    (paths.serial_log if log == "serial" else paths.hypervisor_log).write_text("1\n2\n3\n")
    assert main(["logs", "demo", f"--{log}", *words]) == 0
    assert capfdbinary.readouterr().out.decode() == printed


@pytest.mark.usefixtures("home")
def test_a_log_that_is_not_there_yet_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "demo", "--serial"]) == 2
    assert "There is no log" in capsys.readouterr().err


def test_following_prints_what_comes_and_begins_anew_with_the_file(
    paths: ClawPaths, home: Home
) -> None:
    paths.serial_log.write_text("one\ntwo\n")
    follower = subprocess.Popen(
        [VCLAW, "logs", "demo", "--serial", "-f", "-n", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VCLAW_HOME": str(home.data)},
    )
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "two\n"
        with paths.serial_log.open("a") as file:
            file.write("three\n")
        assert follower.stdout.readline() == "three\n"
        paths.serial_log.write_text("new\n")
        assert follower.stdout.readline() == "new\n"
        time.sleep(0.3)
        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=20)
    finally:
        follower.kill()
        follower.wait()
    assert (follower.returncode, said) == (130, "")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a\tb\r\n", b"a\tb\n"),
        (b"\x1b[1;31mred\x1b[0m\n", b"red\n"),
        (b"\x1b]0;title\x07x\x1b]52;c;AAAA\x1b\\y", b"xy"),
        (b"\x1b]unfinished", b"]unfinished"),
        ("é ✓ \u009b31m".encode(), "é ✓ 31m".encode()),
    ],
)
def test_a_terminal_is_not_steered_by_a_log(raw: bytes, shown: bytes) -> None:
    assert logs.plain(raw) == shown
