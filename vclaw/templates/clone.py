"""A claw that goes on from a template's guest: how far it has come, and its first steps.

clone.json of a claw: {"schema": 1, "step", "memory"}. `fresh`: no guest has used the disk, which
lies over the template's, so that the saved guest can go on with it. `begun`: a guest may have, and
it was not told yet who it is. `done`: it knows. Once a guest has begun, only the one process that
it runs in can go on; when that has ended, the claw boots from its disk like any other.
`memory` is the inode number of the sealed memory that the process was given.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import boot, crashpoints, fsutil, hypervisor, wake
from vclaw.claws import installed
from vclaw.errors import VclawError
from vclaw.home import TemplatePaths
from vclaw.hypervisor.machine import Memory
from vclaw.paths import ClawPaths
from vclaw.templates import memory, store

FRESH, BEGUN, DONE = "fresh", "begun", "done"

INTRODUCE_SECONDS = 300.0
"""What a guest that goes on is given to answer; on a busy host booting would take far more."""


@dataclass(frozen=True)
class Saved:
    """A template's guest as a new process is given it: descriptors that it inherits."""

    memory: Memory
    memory_fd: int
    device_fd: int


def mark(paths: ClawPaths, step: str, inode: int = 0) -> None:
    """Write down how far the claw's guest has come."""
    fsutil.write_json(paths.clone, {"schema": 1, "step": step, "memory": inode})


def step(paths: ClawPaths) -> str:
    """How far it has come, "" where the claw boots from its disk; a damaged file says that too."""
    word = _read(paths).get("step")
    return word if word in (FRESH, BEGUN, DONE) else ""


def nobodys(paths: ClawPaths) -> bool:
    """Whether a guest that runs there is nobody's yet: its start is under way, or was cut off."""
    return step(paths) in (FRESH, BEGUN)


def _read(paths: ClawPaths) -> dict[str, Any]:
    try:
        return fsutil.read_json(paths.clone)
    except (OSError, VclawError):
        return {}


@contextlib.contextmanager
def opened(paths: ClawPaths, template: TemplatePaths) -> Iterator[Saved]:
    """The template's guest for the claw's process; raises VclawError where it does not fit it."""
    meta = store.load(template)
    if meta is None:
        raise VclawError(f"The template {template.root.name} is not whole.")
    booted_with = installed.load(paths)
    if booted_with is None or booted_with.digest != meta.runtime:
        raise VclawError("The runtime disk is another one by now.")
    if hypervisor.current().fingerprint(boot.machine(paths)) != meta.fingerprint:
        raise VclawError("The machine or its hypervisor is another one by now.")
    size = paths.seed.stat().st_size
    if size != meta.seed_bytes:
        raise VclawError(f"The claw's seed has {size} bytes, and the template's {meta.seed_bytes}.")
    memory_fd = memory.of(template.memory, _running(template))
    try:
        device_fd = os.open(template.device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield Saved(Memory(Path(f"/proc/self/fd/{memory_fd}"), False), memory_fd, device_fd)
        finally:
            os.close(device_fd)
    finally:
        os.close(memory_fd)


def _running(template: TemplatePaths) -> Iterator[tuple[int, int]]:
    """The processes that have the template's memory, with its inode."""
    for folder in store.users(template):
        claw = ClawPaths(folder)
        process, inode = boot.current(claw), _read(claw).get("memory")
        if process is not None and type(inode) is int and inode:
            yield process.pid, inode


def let_go(paths: ClawPaths, saved: Saved) -> None:
    """Let a guest go on whose state is loaded, and tell it who it is.

    Raises VclawError where it does not answer; what it has done until then is nothing of the
    claw's.
    """
    mark(paths, BEGUN, memory.inode(saved.memory_fd))
    crashpoints.reach("clone.begun")
    hypervisor.current().resume(paths)
    crashpoints.reach("clone.released")
    introduce(paths)


def introduce(paths: ClawPaths) -> None:
    """Tell the guest that it is another one now; may be repeated."""
    wake.tell(paths, "introduce", time.monotonic() + INTRODUCE_SECONDS)
    crashpoints.reach("clone.introduced")
    mark(paths, DONE, int(_read(paths).get("memory") or 0))
