"""`vclaw exec` of an installed wheel against ssh in the same shared connection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.bench.run import NAME, READY_SECONDS, Place, mounted_in
from tests.support.wheel import installed
from vclaw import ssh
from vclaw.claws import record

PAIRS = 31


def compare(folder: Path) -> Iterable[Result]:
    """A command that does nothing, in a guest that rests: OpenClaw is stopped in it."""
    place = Place.make(folder)
    words: list[str | Path] = [installed(folder / "venv") / "vclaw", "exec", NAME, "--"]
    try:
        place.run("--no-wait")
        deadline = time.monotonic() + READY_SECONDS
        while not mounted_in(place.claw) and time.monotonic() < deadline:
            time.sleep(0.2)
        seconds_of_command([*words, "sudo", "systemctl", "stop", "openclaw"], place.env)
        by_hand = [*ssh.argv(place.claw, record.load(place.claw), "-T"), "--", "true"]
        yield in_turns(
            "exec (wheel)",
            "ssh, shared connection",
            1.3,
            lambda: seconds_of_command([*words, "true"], place.env),
            lambda: seconds_of_command(by_hand),
            rounds=PAIRS,
        )
    finally:
        place.remove()
