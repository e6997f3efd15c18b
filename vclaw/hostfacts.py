"""Asks this host for all that `vclaw.doctor` judges; changes nothing but the kept trial."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vclaw import fsutil, ports, proc, runtime
from vclaw.claws import record, status
from vclaw.config import CPUS_MOST
from vclaw.doctor import Claw, Facts, Tool
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, ImagePaths, RuntimePaths
from vclaw.hypervisor.machine import Accelerator
from vclaw.model import GATEWAY_GUEST_PORT, INTERNET, OPEN, host_arch
from vclaw.progress import Progress

if TYPE_CHECKING:
    from vclaw.integrity import Check

TOOLS = {
    "ubuntu images": ("gpgv", "qemu-img"),
    "debian images": ("mmdebstrap", "mke2fs", "tar"),
    "runtime": ("mksquashfs",),
    "seed": ("ssh-keygen",),
    "work in a claw": ("ssh",),
}
"""Stage -> the programs that it runs; QEMU has a check of its own."""

QEMU_SECONDS = 10.0
"""What QEMU gets to print its version."""


def gather(
    home: Home, progress: Progress, *, deep: bool, env: Mapping[str, str] = os.environ
) -> Facts:
    """Look at everything; takes a few seconds, and with `deep` as long as reading the cache.

    What cannot be found out becomes a fact of its own, never an exception.
    """
    import psutil

    memory = psutil.virtual_memory()
    qemu, qemu_hint, path = _qemu()
    accelerator, problem = _accelerator(home, path)
    server, server_problem = _server(env)
    holder = _port_holder(home)
    return Facts(
        system=sys.platform,
        arch=host_arch(),
        cpus=os.cpu_count() or 1,
        memory_mib=memory.total // 2**20,
        memory_available_mib=memory.available // 2**20,
        folders=[_folder(path) for path in dict.fromkeys((home.cache, home.data))],
        qemu=qemu,
        qemu_hint=qemu_hint,
        accelerator=accelerator,
        accelerator_problem=problem,
        wall_problem=_wall(),
        wall_off=env.get("VCLAW_NETWORK") == OPEN,
        tools=list(_tools()),
        port_holder=holder,
        next_port=0 if holder is None else _next_port(home),
        server=server,
        server_problem=server_problem,
        cached_images=_cached_images(home),
        runtime_cached=_runtime_cached(home),
        damage=[
            *_image_damage(home, progress, deep, env),
            *_runtime_damage(home, progress, deep),
        ],
        deep=deep,
        claws=_claws(home),
    )


def _qemu() -> tuple[str, str, Path | None]:
    """Its version's line, a hint, and its path; "" and None where it is missing."""
    program = {"arm64": "qemu-system-aarch64"}.get(host_arch(), "qemu-system-x86_64")
    try:
        path = proc.need(program, "booting a claw")
        said = proc.run([path, "--version"], timeout=QEMU_SECONDS)
    except VclawError as error:
        return "", f"{error.message} {error.hint}", None
    except OSError as error:
        return "", f"{program} cannot be run: {error.strerror}.", None
    return (said.splitlines() or [f"{path} says no version"])[0], "", path


def _accelerator(home: Home, qemu: Path | None) -> tuple[Accelerator | None, str]:
    from vclaw.hypervisor.qemu import accelerator

    if qemu is None:
        return None, ""
    try:
        cpus = min(CPUS_MOST, os.cpu_count() or 1)
        return accelerator.choose(home, host_arch(), qemu, cpus), ""
    except VclawError as error:
        return None, f"{error.message} {error.hint}"
    except KeyError:
        return None, f"There is no trial for {host_arch()}."


def _wall() -> tuple[str, str]:
    """Why a claw cannot be walled in here, and a hint; both "" where it can."""
    from vclaw.wall import mechanism

    user = mechanism.user(Path("/"), "tcg")
    try:
        mechanism.require(INTERNET, (), user)
    except VclawError as error:
        return error.message, error.hint
    return "", ""


def _folder(path: Path) -> tuple[str, int, str]:
    """Path, free MiB, and why it cannot be written; a folder to come is judged by its parent."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        free = fsutil.free_bytes(there) // 2**20
    except OSError as error:
        return str(path), 0, error.strerror or str(error)
    if not there.is_dir():
        return str(path), free, f"{there} is not a folder"
    problem = "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is closed to this user"
    return str(path), free, problem


def _tools() -> Iterator[Tool]:
    from vclaw.images import debian

    for stage, programs in TOOLS.items():
        if stage == "debian images" and os.geteuid() != 0:
            programs = (*programs, "fakeroot", "newuidmap")
        for program in programs:
            try:
                yield Tool(program, stage, str(proc.need(program, f"the stage {stage}")))
            except VclawError as error:
                yield Tool(program, stage, hint=error.hint)
        if stage == "debian images":
            keys = next(iter(debian.KEYRINGS.glob("debian-archive-keyring.*")), None)
            hint = "On Debian or Ubuntu: sudo apt-get install debian-archive-keyring."
            yield Tool("debian-archive-keyring", stage, str(keys or ""), "" if keys else hint)


def _server(env: Mapping[str, str]) -> tuple[str, str]:
    """The image server and why it does not answer, "" where it does."""
    from vclaw.images import catalogue, default, refs, ubuntu

    try:
        base = ubuntu.server(env)
        return base, default.problem(refs.parse(catalogue.PREFERRED, "amd64"), base)
    except VclawError as error:
        return env.get("VCLAW_UBUNTU_URL", ubuntu.SERVER), f"{error.message} {error.hint}"


def _port_holder(home: Home) -> str | None:
    """Who has the gateway's default port: None nobody, a claw's name, "" another program."""
    if ports.is_free(GATEWAY_GUEST_PORT):
        return None
    from vclaw import boot

    for name in record.names(home):
        with contextlib.suppress(VclawError):
            forwards = record.load(home.claw(name)).forwards
            held = GATEWAY_GUEST_PORT in {forward.host for forward in forwards}
            if held and boot.is_up(home.claw(name)):
                return name
    return ""


def _next_port(home: Home) -> int:
    """The port that a new claw's gateway would get, 0 where none is free."""
    taken = set()
    for name in record.names(home):
        with contextlib.suppress(VclawError):
            taken |= {forward.host for forward in record.load(home.claw(name)).forwards}
    try:
        return ports.next_free(GATEWAY_GUEST_PORT, taken)
    except VclawError:
        return 0


def _cached_images(home: Home) -> list[str]:
    from vclaw.images import store

    entries = store.listing(home)
    return [entry.meta.ref for entry in entries if entry.meta and entry.meta.arch == host_arch()]


def _runtime_cached(home: Home) -> bool:
    paths = home.runtime(runtime.key(runtime.DEFAULT_VERSION, host_arch()))
    try:
        return runtime.load(paths.manifest) is not None
    except (VclawError, OSError):
        return False


def _image_damage(
    home: Home, progress: Progress, deep: bool, env: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    from vclaw import integrity
    from vclaw.images import store

    for entry in store.listing(home):
        ref = entry.meta.ref if entry.meta else entry.key
        hint = f"`vclaw image rm {ref}` removes it; the next run fetches it again."
        if entry.meta is None:
            yield entry.problem, hint
            continue
        if deep:
            paths = ImagePaths(home.images / entry.key)
            yield from _failed(integrity.image(paths, entry.meta, progress, env))


def _runtime_damage(home: Home, progress: Progress, deep: bool) -> Iterator[tuple[str, str]]:
    from vclaw import integrity

    folders = sorted(home.runtimes.iterdir()) if home.runtimes.is_dir() else []
    for folder in folders:
        if folder.name.startswith(".") or not folder.is_dir():
            continue  # a build that is under way, or its rest
        paths = RuntimePaths(folder)
        hint = f"Remove the folder {folder}: the next run builds it again."
        try:
            manifest = runtime.load(paths.manifest)
            if manifest is None:
                yield f"{paths.manifest} is missing.", hint
            elif paths.disk.stat().st_size != manifest.size:
                yield f"{paths.disk} is damaged: its size is not {manifest.size} bytes.", hint
            elif deep:
                yield from _failed(integrity.runtime_disk(paths, manifest, progress))
        except VclawError as error:
            yield error.message, error.hint
        except OSError as error:
            yield f"{paths.disk} cannot be read: {error.strerror}.", hint


def _failed(checks: Iterable[Check]) -> Iterator[tuple[str, str]]:
    """What is damaged; a host that cannot check says why."""
    try:
        for check in checks:
            if check.problem and not check.unrecorded:
                yield check.problem, check.hint
    except UsageError as error:
        yield error.message, error.hint


def _claws(home: Home) -> list[Claw]:
    found = []
    for claw in status.all_of(home):
        gone = ""
        with contextlib.suppress(VclawError):
            workspace = record.load(home.claw(claw.name)).workspace
            gone = "" if workspace.is_dir() else str(workspace)
        found.append(Claw(claw.name, claw.status, claw.last_error, gone))
    return found
