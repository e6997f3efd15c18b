"""Runs the installed `vclaw` command as a user does, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VCLAW = Path(sys.executable).with_name("vclaw")
"""The entry point as it is installed, not a function call."""

KEPT = ("locks", "digests.json")
"""What a refused command may leave in VCLAW_HOME: nothing in it is of any image or claw."""

CLOSED_URL = "http://127.0.0.1:9"
"""Nothing listens there: an image server that does not answer."""


def run_vclaw(
    *words: str | Path,
    env: Mapping[str, str],
    timeout: float = 60,
    before: tuple[str | Path, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `vclaw WORDS` to its end, without a terminal; `before` are words put before it.

    `timeout` is in seconds. `env` is laid over this process's environment.
    """
    return subprocess.run(
        [*before, VCLAW, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=timeout,
        check=False,
    )


def show(done: subprocess.CompletedProcess[str]) -> str:
    """What a command did, for the message of an assertion."""
    return f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"


def files_under(folder: Path) -> set[str]:
    """Every file below `folder`, but those that stay by design: locks and the index of digests."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {str(path) for path in found if path.parts[0] not in KEPT}
