"""What must be true before a claw is ready: a list of checks, asked in order until all hold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import boot, channel, fsutil, gateway, proc
from vclaw.errors import VclawError
from vclaw.hypervisor.process import Process
from vclaw.lock import locked
from vclaw.openclaw import WORKSPACE_DIR
from vclaw.paths import ClawPaths
from vclaw.progress import Progress

GUEST_SECONDS = 0.1
"""Pause between two questions to a guest whose agent has not started: they cost it nothing."""

LOOK_SECONDS = 0.01
"""Processor time that one look takes from a guest at work: a relay's two processes and the probe,
5 ms on the host where it was measured, and a request in the guest, taken to cost as much."""

LOOKS_APART = (0.1, 2.0)
"""Least and longest pause between two looks, in seconds."""

ANSWER_SECONDS = 3.0
"""A busy emulated guest takes its time for an answer."""

RENEW = "environment"
"""The guest agent's operation that starts the gateway anew; an agent of an older vclaw has none."""

GATEWAY_SECONDS = 10.0
"""What a starting gateway gets for an answer: its one thread is busy for seconds on end, and a
question that was given up and asked again finds it no sooner."""

SERVICE_SECONDS = 30.0
"""Pause between two questions to the guest's systemd: asked every second, they take an emulated
guest's processors away from the very start that is waited for."""

RENEW_SECONDS = 120.0
"""What the old gateway is given to end: systemd kills it after 30 s, an emulated one is slow."""

STARTS_MAX = 3
"""How many starts of the gateway may fail within one wait. systemd tries for longer, and where a
start takes a minute to fail, for ever."""

REMINDER_SECONDS = 30.0
"""How often a wait that shows no progress says what it waits for."""

DISK_LEAST_MIB = 16
"""With less than this the guest's disk counts as full: OpenClaw fails in one way or another."""

LOG_LINES = 200
"""Lines of the gateway's journal that are looked through after a failure."""


@dataclass(frozen=True)
class Observation:
    """What one round saw of a claw."""

    alive: bool
    report: dict[str, Any] | None  # the guest agent's status, None where it did not answer
    generation: str  # of the settings that the seed carries
    port: int  # the gateway's, on the host


@dataclass(frozen=True)
class Check:
    """One thing that must be true; `hint` says what to try where it stays false."""

    name: str
    done: str
    passed: Callable[[Observation], bool]
    hint: str


def _booted(seen: Observation) -> bool:
    return seen.report is not None


def _seeded(seen: Observation) -> bool:
    return seen.report is not None and seen.report.get("applied") == seen.generation


def _mounted(seen: Observation) -> bool:
    return seen.report is not None and WORKSPACE_DIR in seen.report.get("mounts", ())


CHECKS = (
    Check(
        "process alive",
        "the hypervisor process runs",
        lambda seen: seen.alive,
        "Its own output is in the claw's logs/qemu.log.",
    ),
    Check(
        "guest booted",
        "the agent in the guest answers over its virtio port",
        _booted,
        "Look at the serial log. An image needs systemd, cloud-init and Python 3 to be a claw.",
    ),
    Check(
        "seed applied",
        "the guest has taken this seed's settings",
        _seeded,
        "`vclaw stop` and `vclaw start` give the guest the present settings.",
    ),
    Check(
        "workspace mounted",
        f"{WORKSPACE_DIR} is a mount in the guest",
        _mounted,
        "The guest's kernel needs the 9p modules (not broken as in Linux 6.9 to 6.11).",
    ),
    Check(
        "gateway live",
        "OpenClaw answers /healthz with 200",
        lambda seen: gateway.probe(seen.port, "/healthz", GATEWAY_SECONDS),
        "Give it more time with --ready-timeout-secs, or more memory with --memory-mib.",
    ),
    Check(
        "gateway ready",
        "OpenClaw answers /readyz with 200",
        lambda seen: gateway.probe(seen.port, "/readyz", GATEWAY_SECONDS),
        "Give it more time with --ready-timeout-secs; the gateway's log says what it waits for.",
    ),
)


def wait(paths: ClawPaths, port: int, timeout: float, progress: Progress) -> None:
    """Wait until every check holds and write ready.json; `timeout` is in seconds.

    Raises VclawError where the virtual machine ends, the guest reports that it failed, or the
    time is over; the claw is left as it is, and the message names the check and shows its log.
    """
    process = boot.current(paths)
    if process is None:
        raise _ended(paths)
    progress.say(f"waiting for OpenClaw; the guest's console is in {paths.serial_log}")
    watch = _Watch(paths, port, progress)
    deadline = time.monotonic() + timeout
    while not watch.round(process):
        if not process.alive:
            raise _ended(paths)
        if time.monotonic() >= deadline:
            raise _timed_out(paths, watch.waiting_for, timeout)
        time.sleep(watch.pause())
    record = {"schema": 1, "run": process.started, "passed": watch.passed, "steps": watch.steps}
    with locked(paths.lock):
        boot.forget(paths.last_error)
        fsutil.write_json(paths.ready, record)


def pause(waited: float) -> float:
    """Seconds until the next look at what has been starting for `waited` seconds.

    Looks every T seconds lengthen the start by LOOK_SECONDS for each, and tell of its end T / 2
    late: the sum is least for the root of 2 * LOOK_SECONDS * waited.
    """
    shortest, longest = LOOKS_APART
    return min(longest, max(shortest, math.sqrt(2 * LOOK_SECONDS * waited)))


class _Watch:
    """Goes through the checks; a check that held once is not asked again."""

    def __init__(self, paths: ClawPaths, port: int, progress: Progress) -> None:
        self._paths = paths
        self._port = port
        self._progress = progress
        self._generation = fsutil.read_json(paths.guest)["generation"]
        self._start = self._said = self._held = time.monotonic()
        self._restarts: int | None = None
        self._first_restarts = 0
        self._next_look = self._start
        self.passed: dict[str, float] = {}
        self.steps: list[dict[str, Any]] = []

    @property
    def waiting_for(self) -> Check:
        return CHECKS[len(self.passed)]

    def pause(self) -> float:
        """Seconds until the next round is worth its cost."""
        if len(self.passed) < ANSWERED:
            return GUEST_SECONDS
        return pause(time.monotonic() - self._held)

    def round(self, process: Process) -> bool:
        """Ask until one check does not hold; returns whether all do."""
        seen = self._observe(process)
        while len(self.passed) < len(CHECKS) and self.waiting_for.passed(seen):
            seconds = round(time.monotonic() - self._start, 1)
            self.passed[self.waiting_for.name] = seconds
            self._say(f"{list(self.passed)[-1]} ({seconds:g} s)")
            self._held = time.monotonic()
        if len(self.passed) == len(CHECKS):
            return True
        if time.monotonic() - self._said >= REMINDER_SECONDS:
            self._say(f"waiting: {self.waiting_for.done}")
        return False

    def _observe(self, process: Process) -> Observation:
        report = None
        if process.alive and len(self.passed) < GATEWAY_CHECKS_FROM:
            report = guest_report(self._paths)
            if report:
                self.steps = report.get("steps", [])
                if report.get("error"):
                    raise VclawError(
                        f"The guest could not apply its settings: {report['error']}",
                        f"The guest's console is in {self._paths.serial_log}.",
                    )
        elif len(self.passed) == GATEWAY_CHECKS_FROM and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + SERVICE_SECONDS
            self._look_at_service()
        return Observation(process.alive, report, self._generation, self._port)

    def _look_at_service(self) -> None:
        """Raise where waiting longer cannot help: the gateway's starts fail one after another.

        One that systemd had given up before is started anew first: its cause may be mended.
        """
        try:
            unit = channel.ask(self._paths.channel, "unit", ANSWER_SECONDS, unit="openclaw.service")
        except VclawError:
            return
        restarts = int(unit.get("NRestarts", 0))
        if unit.get("ActiveState") == "failed":
            ended = f"ended with exit status {unit.get('ExecMainStatus')} and stays down"
            if self._restarts is not None:
                raise self._failed(ended)
            self._say(f"OpenClaw {ended}; it is started anew")
            try:
                renew(self._paths, fsutil.read_json(self._paths.guest))
            except VclawError:
                raise self._failed(ended) from None
        # A start that was asked for begins the count anew.
        if self._restarts is None or restarts < self._restarts:
            self._restarts = self._first_restarts = restarts
        elif restarts - self._first_restarts >= STARTS_MAX:
            raise self._failed(f"ended {STARTS_MAX} times while it started")
        elif restarts > self._restarts:
            self._restarts = restarts
            self._say("OpenClaw ended while it started; it is started again")

    def _failed(self, what: str) -> VclawError:
        check, name = self.waiting_for, self._paths.root.name
        disk, log = _about_disk(self._paths), gateway_log(self._paths)
        return VclawError(
            f"The gateway {what}: '{check.name}' does not hold ({check.done}).",
            f"{disk}The virtual machine is kept; `vclaw start {name}` tries again, once the cause "
            f"is mended.\nThe end of the gateway's log:\n{log}",
        )

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._progress.say(f"{len(self.passed)} of {len(CHECKS)}: {text}")


ANSWERED = 2
"""The guest's agent has answered once this many checks have passed."""

GATEWAY_CHECKS_FROM = 4
"""The checks before this one ask the guest agent, those from it on the gateway."""


def guest_report(paths: ClawPaths, timeout: float = ANSWER_SECONDS) -> dict[str, Any] | None:
    """The guest agent's status; None where it does not answer."""
    try:
        return channel.ask(paths.channel, "status", timeout)
    except VclawError:
        return None


def renew(paths: ClawPaths, guest: Mapping[str, Any]) -> None:
    """Give the guest's gateway the variables of `guest` and start it anew, without a boot.

    `guest` is as guest.json has it. Raises VclawError where the guest did not do it.
    """
    told = {"env": guest["env"], "generation": guest["generation"]}
    channel.ask(paths.channel, RENEW, RENEW_SECONDS, **told)


def gateway_log(paths: ClawPaths) -> str:
    """The last lines of the gateway's journal in the guest, "" where it cannot be had."""
    try:
        answer = channel.ask(
            paths.channel, "journal", 20.0, unit="openclaw.service", lines=LOG_LINES
        )
    except VclawError:
        return ""
    return proc.tail(str(answer["text"]))


def _about_disk(paths: ClawPaths) -> str:
    """A sentence where the guest's disk is full, which its programs say in as many ways."""
    free = (guest_report(paths) or {}).get("disk_free")
    if type(free) is not int or free >= DISK_LEAST_MIB * 2**20:
        return ""
    return f"The guest's disk is full: `vclaw shell {paths.root.name}` lets you make room. "


def is_ready(paths: ClawPaths, port: int) -> bool:
    """Whether this run of the claw was ready and its gateway answers so now; never raises."""
    try:
        recorded = fsutil.read_json(paths.ready)
    except (OSError, VclawError):
        return False
    process = boot.current(paths)
    if process is None or recorded.get("run") != process.started:
        return False
    return gateway.probe(port, "/readyz", timeout=ANSWER_SECONDS)


def _ended(paths: ClawPaths) -> VclawError:
    said = proc.tail(_text(paths.hypervisor_log)) or proc.tail(_text(paths.serial_log))
    return VclawError(
        "The virtual machine ended before OpenClaw was ready.",
        f"Logs: {paths.hypervisor_log} and {paths.serial_log}. The end of them:\n{said}",
    )


def _timed_out(paths: ClawPaths, check: Check, timeout: float) -> VclawError:
    name = paths.root.name
    about_gateway = CHECKS.index(check) >= GATEWAY_CHECKS_FROM
    disk, log = (_about_disk(paths), gateway_log(paths)) if about_gateway else ("", "")
    source = "the gateway's log" if log else str(paths.serial_log)
    log = log or proc.tail(_text(paths.serial_log))
    return VclawError(
        f"{name} was not ready within {timeout:g} s: '{check.name}' does not hold ({check.done}).",
        f"{disk}{check.hint} The virtual machine is kept; `vclaw run --name {name}` waits again, "
        f"`vclaw rm {name}` removes it.\nThe end of {source}:\n{log}",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
