"""A run that begins from a template against one that boots, and what one more clone costs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Result, seconds_of_command
from tests.bench.run import NAME, READY_SECONDS, ROUNDS, Place
from tests.support.command import VCLAW
from vclaw import boot, gateway, timeline

POLL_SECONDS = 1.0
"""Between two looks at a gateway that starts: each takes the emulated guest's time."""

REST_SECONDS = 20.0
"""What a gateway is given after it said that it is ready, before it counts as idle."""


@dataclass(frozen=True)
class Begun:
    """One run: seconds from the command to each moment, and what the claw then takes."""

    answers: float  # the first command over the guest's channel is done
    ready: float
    memory: float  # MB that no other process shares, once the guest rests
    disk: float  # MB of its own


def compare(folder: Path) -> Iterable[Result]:
    """Both have image and runtime disk, and a claw that never was; the template is there too.

    Pictures of the last two runs are kept in .artifacts.
    """
    place = Place.make(folder)
    try:
        place.run("--no-wait")  # makes the template
        booted: list[Begun] = []
        cloned: list[Begun] = []
        warm: list[float] = []
        for _ in range(ROUNDS):
            booted.append(_begin(place, "booted", "--no-template"))
            cloned.append(_begin(place, "cloned"))
            warm.append(_restart(place))
    finally:
        place.remove()
    yield _result("run, guest answers", "without a template", 0.05, "answers", cloned, booted)
    yield _result("run to ready", "without a template", 1 / 3, "ready", cloned, booted)
    ready, restored = (tuple(getattr(one, n) for one in cloned) for n in ("ready", "answers"))
    floor = tuple(a + b for a, b in zip(restored, warm, strict=True))
    yield Result("run to ready", "restore, warm gateway start", 1.15, ready, floor)
    yield _result("memory of a ready clone, MB", "a booted one", 0.25, "memory", cloned, booted)
    disks = tuple(one.disk for one in cloned)
    yield Result("disk of a clone, MB", "50 MB", 1.0, disks, (50.0,) * len(disks))


def _result(
    what: str, against: str, limit: float, name: str, ours: list[Begun], theirs: list[Begun]
) -> Result:
    ours_all, theirs_all = (tuple(getattr(one, name) for one in side) for side in (ours, theirs))
    return Result(what, against, limit, ours_all, theirs_all)


def _begin(place: Place, picture: str, *words: str) -> Begun:
    """Run a new claw up to ready, and look at it."""
    place.remove()
    began = time.time()
    ready = place.run(*words)
    known = timeline.load(place.claw)
    assert known is not None
    waited = next(stage for stage in known.stages if stage.name == "ready")
    answers = waited.start + known.passed["guest booted"] - began
    place.picture(picture)
    time.sleep(REST_SECONDS)
    size = place.claw.disk.stat().st_blocks * 512 / 1e6
    return Begun(answers, ready, _own_memory(place), size)


def _restart(place: Place) -> float:
    """Seconds of a start of the gateway in a guest that rests, with all of it warm."""
    stop = [VCLAW, "exec", NAME, "--", "sudo", "systemctl", "stop", "openclaw"]
    start = [*stop[:-2], "start", "--no-block", "openclaw"]
    seconds_of_command(stop, place.env)
    began = time.perf_counter()
    seconds_of_command(start, place.env)
    while not gateway.probe(place.port, "/readyz", 10.0):
        if time.perf_counter() - began > READY_SECONDS:
            raise TimeoutError(f"OpenClaw was not ready within {READY_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began


def _own_memory(place: Place) -> float:
    """MB that would be free without this claw: its proportional set, shared pages by shares."""
    process = boot.current(place.claw)
    assert process is not None
    told = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", told, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1e3
