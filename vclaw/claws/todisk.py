"""Suspend to the disk and back: a guest's memory in a file, and nothing that runs.

QEMU cannot save a guest that has a folder of the host's mounted. So OpenClaw is stopped and the
folders are given back first; afterwards the guest mounts them again and starts OpenClaw. All else
that runs in it goes on where it stood.
"""

from __future__ import annotations

import contextlib
import os
import time

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
    seed,
    wake,
)
from vclaw.claws import record, saved
from vclaw.claws.saved import Saved
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.machine import Machine, Memory
from vclaw.paths import ClawPaths
from vclaw.progress import Progress

RELEASE_SECONDS = 180.0
"""What a guest is given to stop OpenClaw, give the folders back and write its disk out."""

REGAIN_SECONDS = 180.0
"""What a guest that goes on is given to answer and to mount; an emulated one needs some seconds,
and many where others begin beside it."""

ANSWER_SECONDS = 10.0

POLL_SECONDS = 0.2

END_SECONDS = 30.0
"""What QEMU is given to end once its guest is saved."""


def save(paths: ClawPaths, suspension: str | None, progress: Progress) -> None:
    """Write the guest's memory to the disk and end its machine; the caller holds the claw's lock.

    Raises UsageError where the guest cannot give the folders back, VclawError where it cannot be
    saved; the claw goes on then.
    """
    began = time.monotonic()
    let_go(paths, suspension, progress)
    try:
        freeze(paths, record.load(paths).name)
    except BaseException:
        take_back(paths)
        raise
    size = paths.memory.stat().st_blocks * 512
    progress.say(
        f"its memory is on the disk: {fsutil.mib(size)} ({time.monotonic() - began:.1f} s)"
    )
    end(paths)


def check(paths: ClawPaths) -> None:
    """Raise where a guest cannot be saved now, before anything is asked of it."""
    name = paths.root.name
    pause = f"`vclaw suspend {name}` pauses it in memory."
    report = readiness.guest_report(paths, ANSWER_SECONDS)
    if report is None:
        raise VclawError(f"The guest of {name} does not answer.", pause)
    if "release" not in report.get("ops", ()):
        raise UsageError(
            f"{name} was booted by an older vclaw, and its guest cannot give the folders back.",
            f"{pause} After a `vclaw stop {name}` and a start it can.",
        )
    if not report.get("applied"):
        raise VclawError(
            f"{name} is still booting, and nothing was changed.",
            "Wait until `vclaw ps` calls it ready, then run this again.",
        )
    fsutil.require_space(paths.root, resident_bytes(paths), "The guest's memory")


def resident_bytes(paths: ClawPaths) -> int:
    """How much memory the claw's process has now: about what its guest's takes on the disk."""
    import psutil

    process = boot.current(paths)
    try:
        return int(psutil.Process(process.pid).memory_info().rss) if process else 0
    except psutil.Error:
        return 0


def let_go(paths: ClawPaths, suspension: str | None, progress: Progress) -> None:
    """Make the guest one that can be saved; suspended.json says what is to be undone then."""
    name = paths.root.name
    progress.say("stopping OpenClaw and unmounting its folders")
    boot.forget(paths.ready)
    note = {"schema": 1, "suspension": suspension, "released": True}
    fsutil.write_json(paths.suspended, note)
    crashpoints.reach("save.begun")
    try:
        answer = channel.ask(paths.channel, "release", RELEASE_SECONDS)
    except BaseException:
        take_back(paths)
        raise
    if answer["holders"]:
        # The guest has taken back by itself what it had let go of.
        if suspension:
            port, token = record.load(paths).gateway_port, identity.load(paths).token
            gateway.release(port, token, suspension, ANSWER_SECONDS)
        boot.forget(paths.suspended)
        raise UsageError(
            f"{name} cannot be saved: {_told(answer['holders'])}.",
            f"End it, or pause the claw in memory instead: vclaw suspend {name}",
        )
    crashpoints.reach("save.released")


def _told(holders: list[dict[str, object]]) -> str:
    """Who holds what, in one line; the words are the guest's."""
    said = [
        f"process {item.get('pid')} ({item.get('name')}) uses {item.get('path')}"
        if item.get("pid")
        else str(item.get("name"))
        for item in holders
    ]
    return "in its guest " + ", ".join(said)


def freeze(paths: ClawPaths, of: str) -> Saved:
    """Pause a guest that has let go, and write its state; saved.json makes it count."""
    machine = hypervisor.current()
    machine.pause(paths)
    crashpoints.reach("save.paused")
    with fsutil.replacing(paths.memory, mode=0o600) as temporary, temporary.open("wb") as target:
        machine.save(paths, target, memory=True)
    crashpoints.reach("save.written")
    # What the guest wrote is with QEMU's host kernel by now; a power cut must not take it.
    disk.settle(paths)
    fsutil.sync_file(paths.disk)
    made = Saved(
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        fingerprint=machine.fingerprint(boot.machine(paths)),
        seed_bytes=paths.seed.stat().st_size,
        of=of,
    )
    saved.save(paths, made)
    crashpoints.reach("save.noted")
    return made


def end(paths: ClawPaths) -> None:
    """End the machine of a guest that is saved, and forget it."""
    process = boot.current(paths)
    with contextlib.suppress(VclawError):
        hypervisor.current().quit(paths)
    if process is not None and not process.wait(END_SECONDS):
        process.end(patience=0.0)
    crashpoints.reach("save.ended")
    boot.forget(paths.run, paths.ready, paths.clone, paths.last_error, *paths.machine_sockets)


def take_back(paths: ClawPaths) -> None:
    """Let a guest go on that was to be saved; what cannot be done now is left to resume."""
    with contextlib.suppress(VclawError):
        go_on(paths)


def go_on(paths: ClawPaths) -> None:
    """Let a guest go on that has let go, and maybe was saved: that is given up first."""
    saved.drop(paths)
    if hypervisor.current().state(paths) == "paused":
        hypervisor.current().resume(paths)
    regain(paths)
    boot.forget(paths.memory, paths.suspended)


def restore(paths: ClawPaths, progress: Progress) -> None:
    """Start a machine with the saved guest and let it go on; the caller holds the claw's lock.

    What the guest has to regain is left to the caller. Raises UsageError where it cannot go on
    here, VclawError where its machine or a port cannot be had; it stays saved then.
    """
    name = paths.root.name
    saved.end_rest(paths)
    seed.build(paths.guest, paths.seed)
    why = saved.problem(paths)
    if why:
        raise UsageError(
            f"{name} cannot go on from its saved memory: {why}.",
            f"`vclaw start {name}` gives that up and boots its disk.",
        )
    told = boot.machine(paths)
    boot.check_workspace(told)
    boot.make_folders(paths)
    began = time.monotonic()
    try:
        _load(paths, told)
        boot.forward(paths, told)
        # Before its first step: from then on the disk is another than the one that memory knows.
        note = {"schema": 1, "suspension": None, "released": True}
        fsutil.write_json(paths.suspended, note)
        crashpoints.reach("restore.loaded")
    except BaseException:
        saved.end_rest(paths)
        raise
    saved.drop(paths)
    hypervisor.current().resume(paths)
    crashpoints.reach("restore.running")
    progress.say(f"its memory is back ({time.monotonic() - began:.1f} s)")


def _load(paths: ClawPaths, told: Machine) -> None:
    with boot.state_held(paths, told) as held:
        source = os.open(paths.memory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            boot.launch(paths, told, (*held, source), Memory(None, kept=False))
            hypervisor.current().load(paths, source, memory=True)
        finally:
            os.close(source)


def regain(paths: ClawPaths) -> None:
    """Give a guest clock, randomness, folders and OpenClaw again; may be repeated.

    Returns once the folders are there, lest a command writes to what they hide. Raises VclawError
    where the guest does not answer.
    """
    deadline = time.monotonic() + REGAIN_SECONDS
    wake.tell(paths, "regain", deadline)
    while time.monotonic() < deadline:
        report = readiness.guest_report(paths) or {}
        if report.get("applied") or report.get("error"):
            return  # whoever waits for readiness tells of the error
        time.sleep(POLL_SECONDS)
