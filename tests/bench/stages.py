"""The stages of one run to ready, one after the other, and what they consist of; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench import guest
from tests.bench.measure import Result
from vclaw import timeline
from vclaw.timeline import Record

DETAIL_SECONDS = 0.5
"""Details that take less are not listed."""

DETAILS_MOST = 15
"""Of each kind of detail."""

DETAILS = ("systemd", "chain", "unit", "cloud-init", "step", "trace")
"""Kinds of parts that lie within others, and beside each other: their sum says nothing."""

WHOLE = "of the whole run"


@dataclass(frozen=True)
class Sample:
    """What one run left: its timeline, when its guest's clock began, and what its guest says.

    `texts`: manager, units, cloud-init, kernel, gateway, and where they could be had analyze and
    chain; see `boot.QUESTIONS`.
    """

    record: Record
    zero: float  # seconds since the epoch
    texts: Mapping[str, str]


Key = tuple[str, str]
"""(kind, name) of a part: host, guest, gateway, or a kind of detail."""


def parts(sample: Sample) -> dict[Key, float]:
    """Every part of a run in seconds: those in their order first, then the details."""
    ends = {stage.name: stage.end for stage in sample.record.stages}
    found: dict[Key, float] = {}
    for name, seconds in timeline.phases(sample.record):
        if name not in ("guest", "gateway", "waiting"):
            found["host", name] = seconds
    found |= _guest(sample, ends["boot"] - sample.zero, ends["ready"] - sample.zero)
    return found | _details(sample)


def _guest(sample: Sample, booted: float, ready: float) -> dict[Key, float]:
    """From the start of the guest to ready, both in seconds of its clock."""
    userspace = guest.moment(guest.properties(sample.texts["manager"])[0], "Userspace")
    init = guest.init_started(sample.texts["kernel"]) or userspace
    # What runs before the kernel's clock does: firmware, and the kernel that unpacks itself.
    found = {
        ("guest", "before the kernel's clock"): max(0.0, -booted),
        ("guest", "kernel"): init,
        ("guest", "initrd"): userspace - init,
    }
    steps = guest.gateway(sample.texts["gateway"])
    if not steps:
        return {**found, ("guest", "userspace, OpenClaw"): ready - userspace}
    found["guest", "userspace until OpenClaw"] = steps[0].start - userspace
    found |= {("gateway", step.name): step.seconds for step in steps}
    found["gateway", "until vclaw knows"] = max(0.0, ready - steps[-1].end)
    return found


def _details(sample: Sample) -> dict[Key, float]:
    texts = sample.texts
    kinds = {
        "chain": guest.critical_chain(texts["chain"]),
        "unit": guest.units(texts["units"]),
        "cloud-init": guest.cloud_init(texts["cloud-init"]),
        "trace": guest.traced(texts["gateway"]),
    }
    found: dict[Key, float] = {}
    for kind, listed in kinds.items():
        for part in listed:
            # One that ran more than once counts with all its times.
            found[kind, part.name] = found.get((kind, part.name), 0.0) + part.seconds
    found |= {("systemd", name): took for name, took in guest.startup(texts["analyze"]).items()}
    found |= {("step", step.name): step.seconds for step in sample.record.steps}
    return found


def results(samples: Sequence[Sample], totals: Sequence[float]) -> list[Result]:
    """Each part's times over all rounds, against the whole run: its ratio is its share."""
    rounds = [parts(sample) for sample in samples]
    keys = dict.fromkeys(key for found in rounds for key in found)
    found = {key: [one[key] for one in rounds if key in one] for key in keys}
    return [
        Result(f"{kind}: {name}", WHOLE, None, tuple(found[kind, name]), tuple(totals))
        for kind, name in _listed(found)
    ]


def _listed(found: Mapping[Key, Sequence[float]]) -> Iterable[Key]:
    yield from (key for key in found if key[0] not in DETAILS)
    for kind in DETAILS:
        medians = {key: statistics.median(found[key]) for key in found if key[0] == kind}
        longest = sorted(medians, key=lambda key: -medians[key])
        yield from [key for key in longest if medians[key] >= DETAIL_SECONDS][:DETAILS_MOST]
