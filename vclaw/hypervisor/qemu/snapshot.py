"""A guest's state in a file and out of it again, as QEMU's migration does it.

Commands: QEMU's qapi/migration.json. With the capability `x-ignore-shared` memory that is a file
is no part of the state: it stays in that file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import IO

from vclaw.errors import VclawError
from vclaw.hypervisor.machine import Machine, RootDisk, Share
from vclaw.hypervisor.qemu import accelerator, argv, qmp
from vclaw.paths import ClawPaths

SECONDS = 600.0
"""For all of a guest's memory on a slow disk; its devices' state alone is there at once."""

NAME = "vclaw-state"
"""The state's file descriptor, as QEMU keeps it."""

BANDWIDTH = 2**40
"""Bytes a second: the guest stands still, and nobody else needs the line."""


def fingerprint(program: Path, machine: Machine) -> str:
    """What a saved guest of `machine` depends on beside its disks.

    QEMU's command line with neutral names, the program's size and time, and the processor where
    the guest runs on that itself.
    """
    neutral = dataclasses.replace(
        machine,
        name="any",
        runtime=Path("/runtime"),
        forwards=(),
        # Whether the guest may write is the host's business alone.
        shares=tuple(Share(share.tag, Path("/share")) for share in machine.shares),
    )
    words = argv.build(program, neutral, RootDisk(Path("/disk"), "any"), ClawPaths(Path("/claw")))
    stat = program.stat()
    processor = "" if machine.accelerator == "tcg" else accelerator.processor_digest()
    value = [words, stat.st_size, stat.st_mtime_ns, processor]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def save(monitor: Path, target: IO[bytes], *, memory: bool) -> None:
    """Write a paused guest's state to `target`; raises VclawError where QEMU will not."""
    try:
        with qmp.session(monitor, SECONDS) as ask:
            _leave_memory(ask, not memory)
            ask("migrate-set-parameters", {"max-bandwidth": BANDWIDTH})
            ask("getfd", {"fdname": NAME}, target.fileno())
            ask("migrate", {"uri": f"fd:{NAME}"})
            _wait(ask, "saved")
    except BaseException:
        with contextlib.suppress(VclawError):  # so that the guest can go on
            qmp.execute(monitor, "migrate_cancel")
        raise


def load(monitor: Path, source: int, *, memory: bool) -> None:
    """Load the state behind the descriptor `source`, which QEMU inherited."""
    with qmp.session(monitor, SECONDS) as ask:
        _leave_memory(ask, not memory)
        ask("migrate-incoming", {"uri": f"fd:{source}"})
        _wait(ask, "loaded")


def _leave_memory(ask: qmp.Ask, on: bool) -> None:
    capability = {"capability": "x-ignore-shared", "state": on}
    ask("migrate-set-capabilities", {"capabilities": [capability]})


def _wait(ask: qmp.Ask, done: str) -> None:
    while True:
        told = ask("query-migrate")
        status = told.get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            why = told.get("error-desc") or "QEMU gives no reason"
            raise VclawError(f"The guest's state could not be {done}: {why}.")
        time.sleep(0.01)
