"""`vclaw run` to ready, stage by stage, each beside the same thing done by hand where it can be."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import run, seed, stages
from tests.bench.measure import Result
from tests.bench.run import IMAGE_REF, NAME, ROUNDS, Place
from tests.bench.stages import Sample
from tests.support.command import VCLAW
from vclaw import channel, fsutil, timeline
from vclaw.paths import ClawPaths

TRACE = "OPENCLAW_GATEWAY_STARTUP_TRACE=1"
"""Lets the gateway tell its phases; by hand it gets the same seed, and does so too."""

SETTLED_SECONDS = 20.0
"""A gateway that is ready has a rest to do, which takes an emulated guest's processors."""

ASK_SECONDS = 60.0

MAY_FAIL = ("analyze", "chain", "cloud-init")
"""systemd-analyze refuses where a job of the boot is not over yet, and not every image's boot
needs cloud-init."""

TIMESTAMPS = ("InactiveExit", "ActiveEnter", "ActiveExit")

QUESTIONS = {
    "analyze": "systemd-analyze time",
    "chain": "systemd-analyze critical-chain --no-pager",
    "manager": "systemctl show --no-pager -p UserspaceTimestampMonotonic",
    "units": "systemctl show --no-pager '*' -p Id "
    + " ".join(f"-p {name}TimestampMonotonic" for name in TIMESTAMPS),
    "cloud-init": "sudo -n cat /var/log/cloud-init.log",
    "kernel": "sudo -n journalctl --no-pager -b -k -o short-monotonic",
    "gateway": "sudo -n journalctl --no-pager -b -u openclaw.service -o short-monotonic",
}
"""What of a sample -> the command in the guest that tells it."""


@dataclass
class Times:
    """Every round's times in seconds."""

    total: list[float] = field(default_factory=list)
    by_hand: list[run.ByHand] = field(default_factory=list)
    cp: list[float] = field(default_factory=list)
    xorriso: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def compare(folder: Path) -> Iterable[Result]:
    """A cold run with a cached image and runtime, and QEMU by hand with the same disks, in turns.

    What a guest says is kept in .artifacts/bench-boot/: it is read again without another boot.
    """
    place = Place.make(folder)
    times = Times()
    try:
        for number in range(ROUNDS):
            place.begin()
            os.sync()
            times.total.append(place.run("--no-template", "--env", TRACE))
            texts = Path(f".artifacts/bench-boot/{number}")
            times.samples.append(_sample(place, texts))
            command = run.by_hand(place)
            place.stop()
            times.xorriso.append(_xorriso(folder))
            times.cp.append(run.as_new(place))
            os.sync()
            times.by_hand.append(run.boot_by_hand(command, place))
    finally:
        place.remove()
    return [*floors(times), *stages.results(times.samples, times.total)]


def floors(times: Times) -> list[Result]:
    """What has a floor, beside it."""
    whole = tuple(hand.ready for hand in times.by_hand)
    guest = tuple(hand.mounted for hand in times.by_hand)
    gateway = tuple(hand.ready - hand.mounted for hand in times.by_hand)
    ours = [dict(timeline.phases(sample.record)) for sample in times.samples]
    booted = tuple(phases["boot"] + phases["guest"] for phases in ours)
    started = tuple(phases["gateway"] for phases in ours)
    copied, seeded = (tuple(phases.get(name, 0.0) for phases in ours) for name in ("copy", "seed"))
    return [
        Result(f"boot: {IMAGE_REF} to ready", "QEMU by hand", 1.1, tuple(times.total), whole),
        Result("boot: copy", "cp --sparse=always", None, copied, tuple(times.cp)),
        Result("boot: seed", "xorriso", None, seeded, tuple(times.xorriso)),
        Result("boot: guest to mounts", "QEMU by hand", None, booted, guest),
        Result("boot: gateway", "QEMU by hand", None, started, gateway),
    ]


def _sample(place: Place, kept: Path) -> Sample:
    """Ask a guest that is ready for all that it knows of its start."""
    record = timeline.load(place.claw)
    if record is None:
        raise FileNotFoundError(f"no timeline in {place.claw.root}")
    time.sleep(SETTLED_SECONDS)
    zero = _zero(place.claw)
    kept.mkdir(parents=True, exist_ok=True)
    texts = {
        name: _ask(place, script, insist=name not in MAY_FAIL) for name, script in QUESTIONS.items()
    }
    for name, text in texts.items():
        (kept / f"{name}.txt").write_text(text)
    fsutil.write_json(kept / "timeline.json", {**timeline.to_json(record), "zero": zero})
    return Sample(record, zero, texts)


def _zero(claw: ClawPaths) -> float:
    """When the guest's clock began, in seconds of the host's, by its agent's answer."""
    before = time.time()
    uptime = float(channel.ask(claw.channel, "status", ASK_SECONDS)["uptime"])
    return (before + time.time()) / 2 - uptime


def _ask(place: Place, script: str, *, insist: bool) -> str:
    """What a command in the guest prints; raises CalledProcessError where one must not fail."""
    words: list[str | Path] = [VCLAW, "exec", NAME, "--", "sh", "-c", script]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **place.env},
        check=insist,
    )
    return done.stdout if done.returncode == 0 else ""


def _xorriso(folder: Path) -> float:
    files = folder / "seed"
    if not files.exists():
        seed.lay_out(files)
    return seed.xorriso(files, folder / "by-hand.iso")
