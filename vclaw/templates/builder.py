"""Makes a template: boots a guest of nobody's, lets it get ready, and keeps it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from vclaw import (
    boot,
    channel,
    crashpoints,
    disk,
    fsutil,
    hypervisor,
    proc,
    schema,
    seed,
)
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, TemplatePaths
from vclaw.hypervisor.machine import Machine, Memory
from vclaw.images import store as images
from vclaw.lock import locked
from vclaw.paths import ClawPaths, check_socket_length
from vclaw.progress import Progress
from vclaw.templates import recipe, store
from vclaw.templates.recipe import Recipe
from vclaw.templates.store import TemplateMeta

READY_SECONDS = {"tcg": 900.0}
READY_SECONDS_MOST = 240.0
"""What a guest is given to boot and to warm up; an emulated one, some minutes more."""

POLL_SECONDS = 0.5

ANSWER_SECONDS = 5.0

FREEZE_SECONDS = 300.0
"""What a guest is given to end its boot and write its disk out."""

NOBODY = 65534
"""uid and gid of `nobody`: who QEMU is where root makes a template (Linux's overflow ids)."""


def ensure(home: Home, wanted: Recipe, progress: Progress) -> None:
    """Make the template where it is not there.

    One that cannot be made is said and noted, so that nobody waits for it again: claws do
    without it.
    """
    paths, failed = home.template(wanted.key), home.template_failure(wanted.key)
    if _whole(paths):
        return
    if failed.exists():
        progress.say(
            f"no template, since it could not be made before: {failed.read_text().strip()} "
            f"`vclaw template rm {wanted.key}` lets the next run try again"
        )
        return
    fsutil.make_folder(home.templates)
    fsutil.make_folder(home.locks)

    def on_wait(holder: str) -> None:
        progress.say(f"waiting for {holder}, which makes the template {wanted.key}")

    with locked(store.lock_of(home, wanted.key), on_wait=on_wait):
        if _whole(paths):
            return
        used = store.users(paths)
        if used:  # another disk below would destroy theirs
            names = ", ".join(sorted(folder.name for folder in used))
            progress.say(
                f"no template: {wanted.key} is damaged, and the disk of {names} lies over what is "
                "left of it. The claw boots by itself."
            )
            return
        try:
            _build(home, wanted, progress)
        except (VclawError, OSError) as error:
            why = error.message if isinstance(error, VclawError) else f"{error}."
            fsutil.write_atomic(failed, f"{why}\n".encode())
            progress.say(f"no template: {why} The claw boots by itself.")


def _whole(paths: TemplatePaths) -> bool:
    try:
        return store.is_whole(paths)
    except schema.NewerError:
        raise
    except VclawError:
        return False


def _build(home: Home, wanted: Recipe, progress: Progress) -> None:
    _check_host(wanted)
    progress.say(
        f"making a template of {wanted.image.name} with OpenClaw {wanted.openclaw}; "
        "later claws begin from it"
    )
    with _scratch(home, wanted.key) as claw:
        told = _describe(home, wanted, claw, progress)
        memory = Memory(claw.memory, kept=True)
        _make_memory(claw, told)
        boot.launch(claw, told, (), memory)
        _wait(claw, told, progress)
        crashpoints.reach("template.booted")
        _save(claw)
        crashpoints.reach("template.saved")
        _place(home, wanted, claw)
    progress.say(f"made the template {wanted.key}")


def _check_host(wanted: Recipe) -> None:
    """Raise UsageError where this host cannot boot a guest of nobody's behind the wall."""
    from vclaw.wall import mechanism

    workspace = recipe.machine_of(wanted, Path("/")).shares[0].path
    mechanism.require("none", (), mechanism.user(workspace, wanted.machine.accelerator))


@contextlib.contextmanager
def _scratch(home: Home, key: str) -> Iterator[ClawPaths]:
    """A folder for the guest that is to be kept; what a killed maker left is removed first."""
    claw = store.scratch_of(home, key)
    check_socket_length(claw)
    store.discard(claw)
    try:
        boot.make_folders(claw)
        yield claw
    finally:
        store.discard(claw)


def _describe(home: Home, wanted: Recipe, claw: ClawPaths, progress: Progress) -> Machine:
    """Write what a boot needs: disk, seed and machine.json."""
    share = claw.state
    fsutil.make_folder(share, 0o700)
    if os.geteuid() == 0:
        os.chown(share, NOBODY, NOBODY)
    told = recipe.machine_of(wanted, share)
    owner = share.stat()
    guest = seed.template_settings(
        owner=(owner.st_uid, owner.st_gid), emulated=told.accelerator == "tcg"
    )
    fsutil.write_json(claw.guest, guest, 0o600)
    fsutil.write_json(claw.machine, told.to_json())
    seed.build(claw.guest, claw.seed)
    with images.steady(home, wanted.image.key):
        meta = images.load(home, wanted.image)
        if meta is None or meta.digest != wanted.image_digest:
            raise UsageError(
                f"{wanted.image.name} was removed or replaced by another process just now.",
                "Run the command again.",
            )
        disk.create(home.image(wanted.image), meta, claw, wanted.disk_gib, progress)
    return told


def _make_memory(claw: ClawPaths, told: Machine) -> None:
    """An empty file for the guest's memory; in a folder that others cannot enter."""
    fsutil.require_space(claw.root, told.memory_mib * 2**20 // 2, "The template's memory")
    claw.memory.touch()
    os.truncate(claw.memory, told.memory_mib * 2**20)
    claw.memory.chmod(0o666)  # root becomes somebody else for QEMU


def _wait(claw: ClawPaths, told: Machine, progress: Progress) -> None:
    """Wait until the guest has everything in memory that a claw's needs."""
    seconds = READY_SECONDS.get(told.accelerator, READY_SECONDS_MOST)
    began = time.monotonic()
    generation = fsutil.read_json(claw.guest)["generation"]
    booted = False
    while True:
        report = _report(claw)
        if report and not booted:
            booted = True
            progress.say(f"template: guest booted ({time.monotonic() - began:.1f} s)")
        if report.get("error"):
            raise VclawError(f"Its guest could not get ready: {report['error']}.")
        if report.get("applied") == generation:
            progress.say(f"template: guest warm ({time.monotonic() - began:.1f} s)")
            return
        if boot.current(claw) is None or time.monotonic() - began > seconds:
            ended = "ended" if boot.current(claw) is None else f"was not ready within {seconds:g} s"
            raise VclawError(f"Its guest {ended}.", proc.tail(_text(claw.serial_log)))
        time.sleep(POLL_SECONDS)


def _report(claw: ClawPaths) -> dict[str, object]:
    try:
        return channel.ask(claw.channel, "status", ANSWER_SECONDS)
    except VclawError:
        return {}


def _save(claw: ClawPaths) -> None:
    """Freeze the guest, write its devices' state, and end it."""
    channel.ask(claw.channel, "freeze", FREEZE_SECONDS)
    machine = hypervisor.current()
    machine.pause(claw)
    with claw.device.open("wb") as target:
        machine.save(claw, target, memory=False)
    machine.quit(claw)
    process = boot.current(claw)
    if process is not None and not process.wait(30.0):
        raise VclawError("QEMU did not end after the guest was saved.")


def _place(home: Home, wanted: Recipe, claw: ClawPaths) -> None:
    """Keep what belongs to the template, whole or not at all."""
    paths = home.template(wanted.key)
    made = TemplatePaths(claw.root / "made")
    made.root.mkdir()
    for source, target in (
        (claw.disk, made.disk),
        (claw.disk_meta, made.disk_meta),
        (claw.memory, made.memory),
        (claw.device, made.device),
        (claw.kernel, made.kernel),
        (claw.initrd, made.initrd),
    ):
        if source.exists():
            _own(source)
            source.rename(target)
            fsutil.sync_file(target)
    told = wanted.machine
    meta = TemplateMeta(
        image=wanted.image.name,
        image_digest=wanted.image_digest,
        openclaw=wanted.openclaw,
        runtime=wanted.runtime_digest,
        fingerprint=hypervisor.current().fingerprint(told),
        accelerator=told.accelerator,
        cpus=told.cpus,
        memory_mib=told.memory_mib,
        disk_gib=wanted.disk_gib,
        seed_bytes=claw.seed.stat().st_size,
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    fsutil.write_json(made.meta, schema.to_json(meta, store.STEPS))
    store.delete(paths)  # what was here is no template, see `ensure`
    made.root.rename(paths.root)
    fsutil.sync_folder(paths.root.parent)


def _own(path: Path) -> None:
    """A file of the template is its maker's, and read alone by every claw's QEMU."""
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    path.chmod(0o444)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
