"""Suspend, resume, stop and remove: every one may be repeated, and a busy claw says so."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from pathlib import Path

from vclaw import boot, channel, disk, fsutil, gateway, hypervisor, identity, readiness
from vclaw.claws import record
from vclaw.errors import UsageError, VclawError
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.paths import ClawPaths
from vclaw.progress import Progress

QUIESCE_SECONDS = 30.0
"""What OpenClaw is given to end its work before a pause."""

STOP_SECONDS = 180.0
"""What a guest is given to shut down; an emulated one needs most of a minute."""

CLOCK_SECONDS = 30.0
"""What a guest that was paused is given to answer again."""


def suspend(paths: ClawPaths, progress: Progress) -> None:
    """Pause a running claw; raises UsageError where it does not run."""
    with locked(paths.lock, BUSY_SECONDS):
        _require_running(paths)
        if hypervisor.current().state(paths) == "paused":
            progress.say(f"{paths.root.name} is suspended already")
            return
        suspension = gateway.quiesce(
            record.load(paths).gateway_port, identity.load(paths).token, QUIESCE_SECONDS
        )
        if suspension is None:
            progress.say("OpenClaw did not confirm that it is quiet; pausing all the same")
        fsutil.write_json(paths.suspended, {"schema": 1, "suspension": suspension})
        hypervisor.current().pause(paths)


def resume(paths: ClawPaths, timeout: float, progress: Progress) -> None:
    """Let a suspended claw go on, set its clock, and wait until OpenClaw is ready."""
    with locked(paths.lock, BUSY_SECONDS):
        _require_running(paths)
        if hypervisor.current().state(paths) != "paused":
            progress.say(f"{paths.root.name} is not suspended")
            return
        hypervisor.current().resume(paths)
        _set_clock(paths)
        port = record.load(paths).gateway_port
        suspension = _suspension(paths)
        if suspension:
            gateway.release(port, identity.load(paths).token, suspension, QUIESCE_SECONDS)
        boot.forget(paths.suspended)
        readiness.wait(paths, port, timeout, progress)


def _set_clock(paths: ClawPaths) -> None:
    """The guest's clock stands where it was paused; the guest may take a moment to answer."""
    deadline = time.monotonic() + CLOCK_SECONDS
    while True:
        try:
            channel.ask(paths.channel, "set-clock", readiness.ANSWER_SECONDS, time=time.time())
            return
        except channel.NoAnswer:
            if time.monotonic() >= deadline:
                raise


def _suspension(paths: ClawPaths) -> str:
    try:
        return str(fsutil.read_json(paths.suspended).get("suspension") or "")
    except (OSError, VclawError):
        return ""


def stop(paths: ClawPaths, progress: Progress, *, force: bool = False) -> None:
    """Power off: politely, and hard where the guest does not follow in time or by `force`."""
    with locked(paths.lock, BUSY_SECONDS):
        process = boot.current(paths)
        if process is None:
            progress.say(f"{paths.root.name} is not running")
        elif force or not (_ask_to_stop(paths) and process.wait(STOP_SECONDS)):
            if not force:
                progress.say("the guest did not shut down; ending its virtual machine")
            with contextlib.suppress(VclawError):
                hypervisor.current().quit(paths)
                process.wait(10.0)
            process.end()
        disk.settle(paths)
        boot.forget(paths.run, paths.ready, paths.suspended, paths.last_error)


def _ask_to_stop(paths: ClawPaths) -> bool:
    """Ask the guest in two ways; whether one of them was taken."""
    if hypervisor.current().state(paths) == "paused":
        with contextlib.suppress(VclawError):
            hypervisor.current().resume(paths)
    try:
        channel.ask(paths.channel, "poweroff", 10.0)
        return True
    except VclawError:
        pass
    try:
        hypervisor.current().press_power_button(paths)
        return True
    except VclawError:
        return False


def remove(
    paths: ClawPaths, progress: Progress, *, force: bool = False, keep_state: Path | None = None
) -> None:
    """Stop a claw and delete its folder; the workspace is not touched.

    With `keep_state`, OpenClaw's state is moved to that folder first, which must not exist. A
    state folder outside the claw is not touched either.
    """
    outside = state_outside(paths)
    if keep_state is not None and outside is not None:
        raise UsageError(
            f"OpenClaw's state is outside of the claw, in {outside}.",
            "It is kept anyway: leave --keep-state away.",
        )
    if keep_state is not None and keep_state.exists():
        raise UsageError(f"{keep_state} exists already.", "Name a folder that does not exist yet.")
    if keep_state is not None and keep_state.resolve().is_relative_to(paths.root.resolve()):
        raise UsageError(
            f"{keep_state} is part of the claw that is removed.", "Name a folder outside of it."
        )
    with locked(paths.lock, BUSY_SECONDS):
        stop(paths, progress, force=force)
        if keep_state is not None and paths.state.is_dir():
            keep_state.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(paths.state, keep_state)
        # Renamed first: an interrupted removal leaves nothing that looks like a claw.
        doomed = paths.root.with_name(f".removed-{paths.root.name}-{secrets.token_hex(4)}")
        paths.root.rename(doomed)
    shutil.rmtree(doomed)


def state_outside(paths: ClawPaths) -> Path | None:
    """The state folder outside the claw, None where it is the claw's own."""
    try:
        return record.load(paths).state
    except VclawError:
        return None  # a broken claw: nothing outside of it is ever touched


def sweep(instances: Path) -> None:
    """Delete what interrupted removals left."""
    for rest in instances.glob(".removed-*"):
        shutil.rmtree(rest, ignore_errors=True)


def _require_running(paths: ClawPaths) -> None:
    if not boot.is_up(paths):
        name = paths.root.name
        raise UsageError(f"{name} is not running.", f"`vclaw start {name}` boots it.")
