"""What is true of a claw now, asked of the world and never read from a file alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from vclaw import boot, fsutil, gateway, hypervisor, openclaw
from vclaw.claws import record, saved
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.hypervisor.process import boot_id
from vclaw.paths import ClawPaths
from vclaw.templates import clone

ASK_SECONDS = 0.4
"""A question to a gateway for a listing, which must not wait for a hung one."""


@dataclass(frozen=True)
class ClawStatus:
    """One row of `vclaw ps`.

    `status` is booting (its gateway does not answer yet), running (it is not ready, or too busy
    to say so in time), ready, suspended, unhealthy, stopped, exited or broken.
    """

    name: str
    image: str
    status: str
    gateway: str  # URL without the token, "" where the spec cannot be read
    pid: int | None
    updated: str  # UTC, of the last change of state
    last_error: str


def of(paths: ClawPaths) -> ClawStatus:
    """Look at one claw; whatever is wrong with it becomes its status, never an exception."""
    name = paths.root.name
    try:
        spec = record.load(paths)
    except VclawError as error:
        return ClawStatus(name, "", "broken", "", _pid(paths), _updated(paths), error.message)
    status, reason = _derive(paths, spec.gateway_port)
    return ClawStatus(
        name,
        spec.image.name,
        status,
        openclaw.url(spec.gateway_port),
        _pid(paths),
        _updated(paths),
        reason or last_error(paths),
    )


def all_of(home: Home, names: Iterable[str] | None = None) -> list[ClawStatus]:
    """Every claw, or those of these names; the ones that run are asked side by side."""
    claws = [home.claw(name) for name in (record.names(home) if names is None else names)]
    answers = _ask_all([paths for paths in claws if boot.is_up(paths)])
    rows = [(paths, answers.get(paths) or of(paths)) for paths in claws]
    # One that was removed while it was looked at is none any more.
    return [row for paths, row in rows if paths.root.is_dir()]


def _ask_all(alive: list[ClawPaths]) -> dict[ClawPaths, ClawStatus]:
    if len(alive) < 2:
        return {}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(32, len(alive))) as pool:
        return dict(zip(alive, pool.map(of, alive), strict=True))


def _derive(paths: ClawPaths, port: int) -> tuple[str, str]:
    """(status, reason): the reason is "" where the status says it all."""
    if saved.is_there(paths):
        return "suspended", ""
    if not boot.is_up(paths):
        return _not_running(paths)
    state = hypervisor.current().state(paths)
    if clone.nobodys(paths):
        return "booting", ""  # it stands still now and then, and is not the claw's yet
    if state == "paused":
        return "suspended", ""
    if state != "running":
        return "unhealthy", f"QEMU's state is {state}."
    began = time.monotonic()
    if gateway.probe(port, "/readyz", ASK_SECONDS):
        return "ready", ""
    silent = time.monotonic() - began >= ASK_SECONDS
    if paths.last_error.exists():
        return "unhealthy", last_error(paths)
    if saved.is_released(paths):
        return "unhealthy", f"A suspend was cut off; `vclaw resume {paths.root.name}` ends it."
    if paths.ready.exists():
        # A listing cannot wait long enough to tell a busy gateway from a hung one.
        if silent:
            return "running", f"OpenClaw was ready and did not answer within {ASK_SECONDS:g} s."
        return "unhealthy", "OpenClaw was ready and does not answer now."
    live = gateway.probe(port, "/healthz", ASK_SECONDS)
    return ("running" if live else "booting"), ""


def _not_running(paths: ClawPaths) -> tuple[str, str]:
    try:
        boot.refuse_unrecorded(paths)
    except VclawError as error:
        return "broken", error.message
    process = boot.last(paths)
    if process is None:
        return "stopped", ""
    if process.started and not process.started.startswith(boot_id()):
        return "stopped", "The host was restarted; `vclaw start` boots it again."
    ended = "The virtual machine ended by itself; see logs/qemu.log and logs/serial.log."
    return "exited", last_error(paths) or ended


def last_error(paths: ClawPaths) -> str:
    """The message of the last failure, "" where there was none since it was last ready."""
    try:
        return str(fsutil.read_json(paths.last_error).get("message", ""))
    except (OSError, VclawError):
        return ""


def record_error(paths: ClawPaths, error: VclawError) -> None:
    """Keep a failure for `vclaw ps` to show."""
    with contextlib.suppress(FileNotFoundError):  # the claw was removed meanwhile
        fsutil.write_json(paths.last_error, {"schema": 1, "message": error.message})


def _pid(paths: ClawPaths) -> int | None:
    process = boot.current(paths) or boot.unrecorded(paths)
    return process.pid if process is not None else None


def _updated(paths: ClawPaths) -> str:
    """When one of the files last changed that mark a claw's life; "" where there is none."""
    times = []
    marks = (paths.spec, paths.run, paths.ready, paths.last_error, paths.suspended, paths.saved)
    for file in marks:
        with contextlib.suppress(FileNotFoundError):  # a command at work may remove it right now
            times.append(file.stat().st_mtime)
    if not times:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(max(times)))
