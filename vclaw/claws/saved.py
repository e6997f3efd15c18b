"""saved.json: a claw whose memory lies on the disk while nothing of it runs.

The record is written last and removed first: while it is there, the saved guest has not gone on,
and whatever process there may be is the rest of a command that was cut off. A guest that goes on
changes its disk, so that its saved memory serves once.
"""

from __future__ import annotations

from dataclasses import dataclass

from vclaw import boot, crashpoints, fsutil, hypervisor, schema
from vclaw.errors import UsageError, VclawError
from vclaw.paths import ClawPaths

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older saved.json up to date; see `vclaw.schema`."""


@dataclass(frozen=True)
class Saved:
    """The content of saved.json."""

    at: str  # 2026-01-31T12:00:00Z, by the host's clock
    fingerprint: str  # of hypervisor and machine, see `Hypervisor.fingerprint`
    seed_bytes: int  # size of the seed disk, which the guest takes it still to have
    of: str  # name of the claw whose guest it was: a twin's is another's


def is_there(paths: ClawPaths) -> bool:
    """Whether the claw is suspended to the disk; never raises."""
    return paths.saved.exists()


def is_released(paths: ClawPaths) -> bool:
    """Whether a guest that runs, or is about to, has no folders and no OpenClaw."""
    try:
        return fsutil.read_json(paths.suspended).get("released") is True
    except (OSError, VclawError):
        return False


def load(paths: ClawPaths) -> Saved | None:
    """Read it; None where there is none. Raises VclawError where it is damaged."""
    name = paths.root.name
    hint = f"`vclaw stop {name}` gives the saved memory up; `vclaw start {name}` boots its disk."
    try:
        return schema.load(paths.saved, Saved, STEPS, hint)
    except FileNotFoundError:
        return None


def save(paths: ClawPaths, saved: Saved) -> None:
    """Write it: from here on the claw is what the disk says."""
    fsutil.write_json(paths.saved, schema.to_json(saved, STEPS))


def drop(paths: ClawPaths) -> None:
    """Give the saved guest up, the record first."""
    if paths.saved.exists():
        paths.saved.unlink()
        fsutil.sync_folder(paths.root)
        crashpoints.reach("save.dropped")
    boot.forget(paths.memory)


def problem(paths: ClawPaths) -> str:
    """Why the saved guest cannot go on here, "" where it can.

    Raises UsageError where that cannot be known: QEMU is not installed just now.
    """
    try:
        saved = load(paths)
        told = boot.machine(paths)
        if saved is None or not paths.memory.is_file():
            return "its memory is gone"
        if not told.runtime.is_file():
            return f"its runtime disk {told.runtime} is gone"
        if hypervisor.current().fingerprint(told) != saved.fingerprint:
            return "QEMU, the processor or the machine is another now"
        size = paths.seed.stat().st_size if paths.seed.exists() else 0
        if size != saved.seed_bytes:
            return f"its seed disk had {saved.seed_bytes} bytes, and has {size} now"
    except UsageError:
        raise
    except VclawError as error:
        return error.message.rstrip(".")
    return ""


def refuse(paths: ClawPaths) -> None:
    """Raise UsageError where the claw is suspended to the disk and can go on from there."""
    name = paths.root.name
    if is_there(paths) and not problem(paths):
        raise UsageError(
            f"{name} is suspended to the disk.",
            f"`vclaw resume {name}` lets it go on; `vclaw stop {name}` gives its memory up, and "
            "what was not yet written to files.",
        )


def end_rest(paths: ClawPaths) -> None:
    """End a process beside a saved guest: one that was just saved, or is not yet let go."""
    process = boot.current(paths) or boot.unrecorded(paths)
    if process is not None:
        process.end(patience=0.0)
    boot.forget(paths.run, *paths.machine_sockets)
