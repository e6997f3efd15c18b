"""Where a claw's time went from fetch to ready: recorded stages in, spans and phases out; pure.

timeline.json of a claw: {"schema": 1, "stages": [{"name", "start", "end", "outcome"}],
"passed": {check: seconds since the wait began}, "steps": [{"name", "start", "end"}]}. A stage's
times are seconds since the epoch, a guest step's seconds of the guest's uptime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeGuard

from vclaw import fsutil
from vclaw.errors import VclawError
from vclaw.paths import ClawPaths

SCHEMA = 1
"""Version of timeline.json."""

SHOWN_AS = {"disk": "copy"}
"""Stage of the pipeline -> what a person reads."""

STEPS_MAX = 40
NAME_MAX = 40
"""What is taken of the guest's report: it may say what it likes, and the picture stays one."""


@dataclass(frozen=True)
class Stage:
    """One stage of one run; `outcome` is done, cached (nothing was to do) or failed."""

    name: str
    start: float
    end: float
    outcome: str = "done"

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.end - self.start)


@dataclass(frozen=True)
class Record:
    """The content of timeline.json: the last boot of a claw and the wait that followed."""

    stages: tuple[Stage, ...]
    passed: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Span:
    """One bar of the picture; times in seconds since the run began."""

    group: str  # host | guest | checks
    name: str
    start: float
    end: float
    phase: str  # which of `phases` it belongs to
    outcome: str = "done"


def of_run(stages: Sequence[Stage], ready: Mapping[str, Any]) -> Record:
    """The record of one run; `ready` is ready.json's content, {} where there is none."""
    passed = {
        _name(name): float(seconds)
        for name, seconds in (ready.get("passed") or {}).items()
        if _is_time(seconds)
    }
    return Record(
        tuple(sorted(stages, key=lambda stage: stage.start)), passed, _steps(ready.get("steps"))
    )


def _steps(value: object) -> tuple[Stage, ...]:
    """The guest's steps, whatever it reports: those that are none are left out."""
    found = []
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, dict):
            continue
        start, end = item.get("start"), item.get("end")
        if _is_time(start) and _is_time(end) and start <= end:
            found.append(Stage(_name(item.get("name")), float(start), float(end)))
    return tuple(found[:STEPS_MAX])


def _name(value: object) -> str:
    """A step's name without what could steer a terminal or break a picture."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:NAME_MAX])


def _is_time(value: object) -> TypeGuard[float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def merge(old: Record | None, new: Record) -> Record:
    """The record to keep after a run: one that found its machine running adds to what was known.

    Any other run begins a new record.
    """
    if old is None or not any(s.name == "boot" and s.outcome == "cached" for s in new.stages):
        return new
    stages = {stage.name: stage for stage in old.stages}
    for stage in new.stages:
        if stage.outcome != "cached" and stage.name != "prepare":
            stages[stage.name] = stage
    waited = any(s.name == "ready" and s.outcome == "done" for s in new.stages)
    rest = new if waited else old
    ordered = sorted(stages.values(), key=lambda stage: stage.start)
    return Record(tuple(ordered), rest.passed, rest.steps)


def phases(record: Record) -> list[tuple[str, float]]:
    """(name, seconds) of each part of the way, in its order.

    The wait is told in two: `guest` until the guest is booted, seeded and mounted, `gateway`
    until OpenClaw is ready; one that did not end well is `waiting`.
    """
    found = [
        (SHOWN_AS.get(stage.name, stage.name), stage.seconds)
        for stage in record.stages
        if stage.name != "ready"
    ]
    ready = _stage(record, "ready")
    if ready is None:
        return found
    if not record.passed or ready.outcome != "done":
        return [*found, ("waiting", ready.seconds)]
    guest = min(ready.seconds, _guest_seconds(record.passed))
    return [*found, ("guest", guest), ("gateway", ready.seconds - guest)]


def line(record: Record) -> str:
    """All phases on one line: `copy 0.4 s, boot 0.3 s, guest 61.7 s, gateway 107.2 s`."""
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases(record))


def spans(record: Record) -> list[Span]:
    """Every bar of the picture: host stages, the guest's steps, the readiness checks."""
    if not record.stages:
        return []
    zero = record.stages[0].start
    ready = _stage(record, "ready")
    checked = ready is not None and bool(record.passed) and ready.outcome == "done"
    found = []
    for stage in record.stages:
        if stage.name == "ready" and checked:
            continue  # the checks tell it in more detail
        name = SHOWN_AS.get(stage.name, stage.name)
        phase = "waiting" if stage.name == "ready" else name
        found.append(Span("host", name, stage.start - zero, stage.end - zero, phase, stage.outcome))
    end = max(stage.end for stage in record.stages) - zero
    boot = _stage(record, "boot")
    if boot is not None and record.steps:
        found += _guest_spans(record.steps, boot.start - zero, end)
    if ready is not None and checked:
        found += _check_spans(record.passed, ready.start - zero)
    return found


def _guest_spans(steps: Sequence[Stage], boot: float, end: float) -> list[Span]:
    """The guest's steps; its uptime begins with its machine, and what lies after `end` is cut."""
    first = Span("guest", "kernel and system", boot, min(end, boot + steps[0].start), "guest")
    rest = [
        Span("guest", step.name, boot + step.start, min(end, boot + step.end), "guest")
        for step in steps
        if boot + step.start < end
    ]
    return [first, *rest]


def _check_spans(passed: Mapping[str, float], wait: float) -> list[Span]:
    """Each check from when the one before it held until it held itself."""
    found, before = [], 0.0
    for name, seconds in passed.items():
        seconds = max(seconds, before)
        phase = "gateway" if _is_gateway(name) else "guest"
        found.append(Span("checks", name, wait + before, wait + seconds, phase))
        before = seconds
    return found


def _guest_seconds(passed: Mapping[str, float]) -> float:
    before = 0.0
    for name, seconds in passed.items():
        if _is_gateway(name):
            break
        before = max(before, seconds)
    return before


def _is_gateway(check: str) -> bool:
    return check.startswith("gateway")


def _stage(record: Record, name: str) -> Stage | None:
    return next((stage for stage in record.stages if stage.name == name), None)


def to_json(record: Record) -> dict[str, Any]:
    """As timeline.json holds it."""
    steps = [{"name": s.name, "start": s.start, "end": s.end} for s in record.steps]
    return {
        "schema": SCHEMA,
        "stages": [asdict(stage) for stage in record.stages],
        "passed": dict(record.passed),
        "steps": steps,
    }


def load(paths: ClawPaths) -> Record | None:
    """Read timeline.json; None where there is none, or where it cannot be read."""
    try:
        value = fsutil.read_json(paths.timeline)
        if value.get("schema") != SCHEMA:
            return None
        return of_run([Stage(**stage) for stage in value["stages"]], value)
    except (OSError, VclawError, KeyError, TypeError, AttributeError):
        return None


def keep(paths: ClawPaths, stages: Sequence[Stage], *, running: bool) -> Record | None:
    """Write down what a run did, and return the record of it; None where it did nothing.

    Where the machine was `running` already, only the wait is new: a stage that looked again,
    since a file had changed, made nothing. What a broken disk or a removed claw makes impossible
    is left: nobody's run fails for it.
    """
    if running:
        waits = ("prepare", "ready")
        stages = [s if s.name in waits else replace(s, outcome="cached") for s in stages]
    if all(stage.outcome == "cached" or stage.name == "prepare" for stage in stages):
        return None
    try:
        ready = fsutil.read_json(paths.ready)
    except (OSError, VclawError):
        ready = {}
    record = merge(load(paths), of_run(stages, ready))
    if paths.root.is_dir():
        try:
            fsutil.write_json(paths.timeline, to_json(record))
        except OSError:
            return record
    return record
