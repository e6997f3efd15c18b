"""Suspend, resume, stop and remove: every one may be repeated, and a busy claw says so."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from pathlib import Path

from vclaw import (
    boot,
    channel,
    crashpoints,
    disk,
    fsutil,
    gateway,
    hypervisor,
    identity,
    readiness,
    transfer,
)
from vclaw.claws import record, saved, todisk
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.process import Process
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.paths import ClawPaths
from vclaw.progress import Progress
from vclaw.templates import clone

QUIESCE_SECONDS = 30.0
"""What OpenClaw is given to end its work before a pause."""

STOP_SECONDS = 180.0
"""What a guest is given to shut down; an emulated one needs most of a minute."""

LIVE_SECONDS = 3.0
"""What OpenClaw is given to show that it is there at all before it is asked to end its work."""

CLOCK_SECONDS = 30.0
"""What a guest that was paused is given to answer again."""


def suspend(paths: ClawPaths, progress: Progress) -> None:
    """Pause a running claw; raises UsageError where it does not run."""
    with locked(paths.lock, BUSY_SECONDS):
        if saved.is_there(paths):
            progress.say(f"{paths.root.name} is suspended to the disk already")
            return
        _require_running(paths)
        if hypervisor.current().state(paths) == "paused":
            progress.say(f"{paths.root.name} is suspended already")
            return
        suspension = _quiesce(paths)
        if suspension is None:
            progress.say("OpenClaw did not confirm that it is quiet; pausing all the same")
        fsutil.write_json(paths.suspended, {"schema": 1, "suspension": suspension})
        crashpoints.reach("suspend.noted")
        hypervisor.current().pause(paths)
        crashpoints.reach("suspend.paused")


def suspend_to_disk(paths: ClawPaths, progress: Progress) -> None:
    """Write a running claw's memory to the disk and end its machine.

    Raises UsageError where it does not run, or where its guest cannot give the host's folders
    back; it goes on then.
    """
    with locked(paths.lock, BUSY_SECONDS):
        if saved.is_there(paths):
            saved.end_rest(paths)
            progress.say(f"{paths.root.name} is suspended to the disk already")
            return
        settle_guest(paths)
        todisk.save(paths, quiesce(paths, progress), progress)


def settle_guest(paths: ClawPaths) -> None:
    """Make a claw one whose guest runs with its folders, and can be saved; raises where not."""
    _require_running(paths)
    if hypervisor.current().state(paths) == "paused":
        hypervisor.current().resume(paths)
        _set_clock(paths, CLOCK_SECONDS)
    todisk.check(paths)


def quiesce(paths: ClawPaths, progress: Progress) -> str | None:
    """Let OpenClaw end its work; None, and a word on it, where it did not confirm that."""
    suspension = _quiesce(paths)
    if suspension is None:
        progress.say("OpenClaw did not confirm that it is quiet; it is stopped all the same")
    return suspension


def _quiesce(paths: ClawPaths) -> str | None:
    port = record.load(paths).gateway_port
    # A guest that still boots has no work to end, and takes connections without an answer.
    if not paths.ready.exists() and not gateway.probe(port, "/healthz", LIVE_SECONDS):
        return None
    return gateway.quiesce(port, identity.load(paths).token, QUIESCE_SECONDS)


def resume(paths: ClawPaths, timeout: float, progress: Progress, *, wait: bool = True) -> None:
    """Let a suspended claw go on, set its clock, and wait until OpenClaw is ready.

    suspended.json stays until all is undone, so that the next resume does what an interrupted
    one left; of a claw that was not suspended nothing but readiness is waited for. `timeout` in
    seconds is for that, and bounds the guest's patience too. Raises UsageError where the claw
    does not run, VclawError where its guest does not answer.
    """
    with locked(paths.lock, BUSY_SECONDS):
        if saved.is_there(paths):
            todisk.restore(paths, progress)
        _require_running(paths)
        paused = hypervisor.current().state(paths) == "paused"
        port = record.load(paths).gateway_port
        if paused:
            hypervisor.current().resume(paths)
            crashpoints.reach("resume.running")
        if paused or paths.suspended.exists():
            _undo(paths, port, min(CLOCK_SECONDS, timeout))
        else:
            progress.say(f"{paths.root.name} is not suspended")
            if readiness.is_ready(paths, port):
                return
        if wait:
            readiness.wait(paths, port, timeout, progress)


def _undo(paths: ClawPaths, port: int, patience: float) -> None:
    """Give a guest that runs again what its suspension took from it."""
    if saved.is_released(paths):
        todisk.regain(paths)
    else:
        _set_clock(paths, patience)
        suspension = _suspension(paths)
        if suspension:
            gateway.release(port, identity.load(paths).token, suspension, QUIESCE_SECONDS)
    crashpoints.reach("resume.undone")
    boot.forget(paths.memory, paths.suspended)  # the first is there where a save was cut off


def _set_clock(paths: ClawPaths, patience: float) -> None:
    """The guest's clock stands where it was paused; the guest may take a moment to answer."""
    deadline = time.monotonic() + patience
    while True:
        answer_in = min(readiness.ANSWER_SECONDS, patience)
        try:
            channel.ask(paths.channel, "set-clock", answer_in, time=time.time())
            return
        except channel.NoAnswer:
            if time.monotonic() >= deadline:
                name = paths.root.name
                raise channel.NoAnswer(
                    f"{name} runs again, but its guest does not answer, and its clock is not set.",
                    f"`vclaw resume {name}` tries again; a guest that was suspended while it "
                    "booted answers once it is up.",
                ) from None


def _suspension(paths: ClawPaths) -> str:
    try:
        return str(fsutil.read_json(paths.suspended).get("suspension") or "")
    except (OSError, VclawError):
        return ""


def stop(paths: ClawPaths, progress: Progress, *, force: bool = False) -> None:
    """Power off: politely, and hard where the guest does not follow in time or by `force`."""
    with locked(paths.lock, BUSY_SECONDS):
        if saved.is_there(paths):
            saved.end_rest(paths)
            saved.drop(paths)
            progress.say("its saved memory is given up; its disk stays")
        process = boot.current(paths) or boot.unrecorded(paths)
        if process is None:
            progress.say(f"{paths.root.name} is not running")
        elif clone.nobodys(paths):
            # A saved guest that runs for a moment would leave a disk that it cannot go on with.
            process.end(patience=0.0)
        elif force or not (_ask_to_stop(paths) and process.wait(STOP_SECONDS)):
            if not force:
                progress.say("the guest did not shut down; ending its virtual machine")
            _end(paths, process)
        crashpoints.reach("stop.ended")
        disk.settle(paths)
        boot.forget(paths.run, paths.ready, paths.suspended, paths.last_error, paths.memory)
        if clone.step(paths) != clone.FRESH:
            boot.forget(paths.clone)
        boot.forget(*paths.machine_sockets)  # a killed one left them


def _end(paths: ClawPaths, process: Process) -> None:
    """End the virtual machine: by its monitor, which flushes its disks, or by signals.

    Raises VclawError where it stays.
    """
    # A hung monitor would let every further command wait for its whole time-out.
    if hypervisor.current().state(paths) != "unknown":
        with contextlib.suppress(VclawError):
            hypervisor.current().quit(paths)
            process.wait(10.0)
    process.end()
    if process.alive:
        raise VclawError(
            f"QEMU (process {process.pid}) does not end, not even by SIGKILL.",
            "The host waits for one of its disks; try again later.",
        )


def _ask_to_stop(paths: ClawPaths) -> bool:
    """Ask the guest in two ways; whether one of them was taken."""
    if hypervisor.current().state(paths) == "paused":
        with contextlib.suppress(VclawError):
            hypervisor.current().resume(paths)
    try:
        channel.ask(paths.channel, "poweroff", 10.0)
        crashpoints.reach("stop.asked")
        return True
    except VclawError:
        pass
    try:
        hypervisor.current().press_power_button(paths)
        crashpoints.reach("stop.asked")
        return True
    except VclawError:
        return False


def remove(
    paths: ClawPaths, progress: Progress, *, force: bool = False, keep_state: Path | None = None
) -> None:
    """Stop a claw and delete its folder; the workspace is not touched.

    With `keep_state`, OpenClaw's state is moved to that folder first, which must not exist, but
    where an interrupted removal moved it there already. A state folder outside the claw is not
    touched either.
    """
    outside = state_outside(paths)
    if keep_state is not None and outside is not None:
        raise UsageError(
            f"OpenClaw's state is outside of the claw, in {outside}.",
            "It is kept anyway: leave --keep-state away.",
        )
    if keep_state is not None and keep_state.exists() and paths.state.exists():
        raise UsageError(f"{keep_state} exists already.", "Name a folder that does not exist yet.")
    if keep_state is not None and keep_state.resolve().is_relative_to(paths.root.resolve()):
        raise UsageError(
            f"{keep_state} is part of the claw that is removed.", "Name a folder outside of it."
        )
    with locked(paths.lock, BUSY_SECONDS):
        stop(paths, progress, force=force)
        crashpoints.reach("remove.stopped")
        if keep_state is not None and (workspace := _workspace(paths)) is not None:
            transfer.refuse_links(keep_state, workspace)
        if keep_state is not None and paths.state.is_dir():
            _move(paths.state, keep_state)
            crashpoints.reach("remove.kept")
        doomed = record.withdraw(paths)
    crashpoints.reach("remove.renamed")
    fsutil.remove_tree(doomed)


def _move(source: Path, target: Path) -> None:
    """Move a folder, across file systems too; it appears whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.partial")
        if partial.exists():
            fsutil.remove_tree(partial)
        shutil.copytree(source, partial, symlinks=True)
        partial.rename(target)


def _workspace(paths: ClawPaths) -> Path | None:
    try:
        return record.load(paths).workspace
    except VclawError:  # a broken claw, which can be removed too
        return None


def state_outside(paths: ClawPaths) -> Path | None:
    """The state folder outside the claw, None where it is the claw's own."""
    try:
        return record.load(paths).state
    except VclawError:
        return None  # a broken claw: nothing outside of it is ever touched


def _require_running(paths: ClawPaths) -> None:
    boot.require_up(paths)
    if clone.nobodys(paths):
        name = paths.root.name
        raise UsageError(
            f"{name} has not begun: its start was cut off.", f"`vclaw start {name}` begins anew."
        )
