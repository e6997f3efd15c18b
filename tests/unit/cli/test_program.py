"""The installed command's end: what it printed has arrived, or it says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import VCLAW
from vclaw.cli.main import INTERRUPTED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_output_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    env = {**os.environ, "VCLAW_HOME": str(tmp_path), "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [VCLAW, "ps"], stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False
        )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("vclaw: ")
    assert "Traceback" not in done.stderr


def test_all_output_arrives_before_the_command_ends(tmp_path: Path) -> None:
    env = {**os.environ, "VCLAW_HOME": str(tmp_path)}
    done = subprocess.run(
        [VCLAW, "image", "ls"], capture_output=True, text=True, env=env, check=True
    )
    assert "debian:13" in done.stdout


def test_an_interrupt_while_it_is_being_loaded_is_silent() -> None:
    script = (
        "import sys, vclaw.errors\n"
        "class Interrupts:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'vclaw.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts)\n"
        "from vclaw.cli import program\n"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")
