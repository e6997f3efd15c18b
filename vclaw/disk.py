"""Copy-on-run: a claw's own disk, made once from a cached image and never written over."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vclaw import crashpoints, fsutil, proc, schema
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.process import boot_id

if TYPE_CHECKING:
    from vclaw.home import ImagePaths, TemplatePaths
    from vclaw.images.meta import ImageMeta
    from vclaw.paths import BootFolder, ClawPaths
    from vclaw.progress import Progress, Task

STEPS: tuple[schema.Step, ...] = (
    lambda old: {**old, "source": "", "signed_by": "", "kernel_digest": "", "initrd_digest": ""},
    lambda old: {**old, "base": ""},
)
"""What brings an older disk.json up to date; see `vclaw.schema`."""

GIB = 2**30

FICLONE = 0x40049409
"""ioctl(2) request of Linux: share all blocks of a file, copy-on-write (ioctl_ficlonerange(2))."""

CHUNK = 16 * 2**20
"""Bytes copied between two steps of the progress bar."""

_NOT_HERE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM}
"""How kernels and file systems say that they cannot do this; the plain way is open then."""


@dataclass(frozen=True)
class DiskMeta:
    """The content of disk.json; the file is written last, so its disk is whole."""

    format: str  # raw | qcow2
    virtual_size: int  # bytes that the guest sees
    image: str  # the image's ref, as the user types it
    digest: str  # sha256:<hex> of the image
    boot: str  # firmware | kernel (vmlinuz and initrd.img lie beside instance.img)
    cmdline: str  # kernel arguments that name the root file system; "" for firmware
    source: str  # where the image came from: URL, path, or the inputs of the build
    signed_by: str  # fingerprint of the OpenPGP key, "" where nothing was signed
    kernel_digest: str  # sha256:<hex> of vmlinuz, "" for firmware
    initrd_digest: str  # sha256:<hex> of initrd.img, "" for firmware
    base: str  # folder of the template whose disk this one lies over, "" for one of its own
    unsynced: str  # the host's boot id while a power cut could still damage the copy, then ""


def load(path: Path) -> DiskMeta | None:
    """Read disk.json; None where there is none.

    Raises VclawError where it is damaged or of a newer schema.
    """
    hint = f"Remove the claw (`vclaw rm {path.parent.name}`) and run it again."
    try:
        return schema.load(path, DiskMeta, STEPS, hint)
    except FileNotFoundError:
        return None


def virtual_size(disk_gib: int, image_size: int) -> int:
    """The size in bytes of a disk of `disk_gib` GiB made from an image of `image_size` bytes.

    Raises UsageError where the image does not fit: a disk is never shrunk.
    """
    if disk_gib * GIB < image_size:
        least = -(-image_size // GIB)
        raise UsageError(
            f"A disk of {disk_gib} GiB is smaller than the image.",
            f"Give at least --disk-gib {least}.",
        )
    return disk_gib * GIB


def create(
    image: ImagePaths, meta: ImageMeta, claw: ClawPaths, disk_gib: int, progress: Progress
) -> DiskMeta:
    """Make the disk of a claw, whose lock the caller holds; a disk that is there stays as it is.

    Raises UsageError for a disk smaller than its image, a missing qemu-img or too little space,
    VclawError where the disk of a finished copy is gone.
    """
    made = load(claw.disk_meta)
    if made is not None and _survived(claw, made):
        return _untouched(claw, made)
    size = virtual_size(disk_gib, meta.virtual_size)
    if meta.format == "qcow2":
        proc.need("qemu-img", "a disk in the format qcow2")
    # Without a valid disk.json no guest has used what an interrupted copy left here.
    claw.disk_meta.unlink(missing_ok=True)
    claw.clone.unlink(missing_ok=True)
    crashpoints.reach("disk.unlisted")
    # Writing hundreds of MiB out takes longer than copying them: `settle` does it while the
    # guest boots already. Where the system names no boots, a lost copy could not be noticed.
    host_boot = boot_id()
    with fsutil.replacing(claw.disk, mode=0o600, sync=not host_boot) as target:
        copy(image.image, target, progress)
        crashpoints.reach("disk.copied")
        _grow(target, meta.format, size)
    crashpoints.reach("disk.placed")
    if meta.boot == "kernel":
        copy_boot_files(image, claw, sync=not host_boot)
    made = _describe(meta, size, host_boot)
    _save(claw, made)
    return made


def create_over(template: TemplatePaths, claw: ClawPaths) -> DiskMeta:
    """Make the disk of a claw, whose lock the caller holds, over a template's, which it reads.

    It is a qcow2 image of nothing but what the guest will change. Raises UsageError where
    qemu-img is missing, VclawError where the template's disk.json is damaged.
    """
    from vclaw.templates import clone

    under = load(template.disk_meta)
    if under is None:
        raise VclawError(f"The template {template.root.name} has no disk.json.")
    program = proc.need("qemu-img", "a disk over a template's")
    claw.disk_meta.unlink(missing_ok=True)
    with fsutil.replacing(claw.disk, mode=0o600) as target:
        words: list[str | Path] = [program, "create", "-q", "-f", "qcow2", "-F", under.format]
        proc.run([*words, "-b", template.disk, target])
    clone.mark(claw, clone.FRESH)
    crashpoints.reach("clone.fresh")
    made = replace(under, format="qcow2", base=str(template.root), unsynced="")
    _save(claw, made)
    return made


def copy_boot_files(source: BootFolder, target: BootFolder, *, sync: bool) -> None:
    """Copy the kernel and the initrd that lie beside a disk, where it has them."""
    from vclaw.progress import Silent

    for old, new in ((source.kernel, target.kernel), (source.initrd, target.initrd)):
        if old.exists():
            with fsutil.replacing(new, sync=sync) as temporary:
                copy(old, temporary, Silent())


def boot_files(claw: ClawPaths, made: DiskMeta) -> tuple[Path, Path]:
    """Kernel and initrd that a disk boots with directly: a template's lie with it."""
    from vclaw.home import TemplatePaths

    files = TemplatePaths(Path(made.base)) if made.base else claw
    return files.kernel, files.initrd


def _describe(meta: ImageMeta, size: int, host_boot: str) -> DiskMeta:
    """What disk.json keeps of the image; that may be gone from the cache tomorrow."""
    return DiskMeta(
        format=meta.format,
        virtual_size=size,
        image=meta.ref,
        digest=meta.digest,
        boot=meta.boot,
        cmdline=meta.cmdline,
        source=meta.source,
        signed_by=meta.signed_by,
        kernel_digest=meta.kernel_digest,
        initrd_digest=meta.initrd_digest,
        base="",
        unsynced=host_boot,
    )


def is_whole(claw: ClawPaths) -> bool:
    """Whether the claw has its disk; raises VclawError where disk.json is damaged."""
    made = load(claw.disk_meta)
    return made is not None and _survived(claw, made)


def settle(claw: ClawPaths) -> None:
    """Make a fresh copy survive a power cut; does nothing the second time.

    Nor where disk.json is damaged: who needs the disk says so, and stopping a claw does not.
    """
    try:
        made = load(claw.disk_meta)
    except VclawError:
        return
    if made is not None and made.unsynced:
        beside = (claw.kernel, claw.initrd) if made.boot == "kernel" else ()
        for file in (claw.disk, *beside):
            fsutil.sync_file(file)
        _save(claw, replace(made, unsynced=""))


def _survived(claw: ClawPaths, made: DiskMeta) -> bool:
    """False for a copy that was not written out when the host went down, before any boot."""
    return made.unsynced in ("", boot_id()) or claw.run.exists()


def _save(claw: ClawPaths, made: DiskMeta) -> None:
    fsutil.write_json(claw.disk_meta, schema.to_json(made, STEPS))


def _untouched(claw: ClawPaths, made: DiskMeta) -> DiskMeta:
    if not claw.disk.is_file():
        raise VclawError(
            f"The disk {claw.disk} is gone.",
            f"Put it back, or remove the claw: vclaw rm {claw.root.name}",
        )
    return made


def _grow(path: Path, form: str, size: int) -> None:
    if form == "qcow2":
        proc.run(["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size)])
    else:
        os.truncate(path, size)


def copy(source: Path, target: Path, progress: Progress) -> None:
    """Make `target` an independent copy of `source`: shared blocks where possible, else sparse.

    Raises UsageError where the bytes that `source` really holds do not fit, VclawError where
    reading or writing fails.
    """
    try:
        with source.open("rb") as src, target.open("r+b") as dst:
            if reflink(src.fileno(), dst.fileno()):
                return
            held = os.fstat(src.fileno()).st_blocks * 512
            fsutil.require_space(target.parent, held, "The claw's disk")
            copy_sparse(src.fileno(), dst.fileno(), progress)
    except OSError as error:
        raise VclawError(
            f"The copy of {source} failed: {error.strerror}.",
            "Run the command again; the unfinished copy was removed.",
        ) from None


def reflink(source: int, target: int) -> bool:
    """Let the file `target` share all blocks of `source`; False where that cannot be done here."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    return True


def copy_sparse(source: int, target: int, progress: Progress) -> None:
    """Copy the data of one file to another, empty one; what is a hole there is one here."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    extents = list(data_extents(source, size))
    with progress.task("copying the disk", sum(length for _, length in extents)) as task:
        for start, length in extents:
            _copy_extent(source, target, start, length, task)


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) in bytes of each run of data in a file, the holes between left out."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end - start


def _copy_extent(source: int, target: int, start: int, length: int, task: Task) -> None:
    end = start + length
    while start < end:
        done = _copy_range(source, target, start, min(CHUNK, end - start))
        if done == 0:
            raise VclawError("The image became shorter while it was copied.", "Run it again.")
        start += done
        task.advance(done)


def _copy_range(source: int, target: int, start: int, length: int) -> int:
    """Copy up to `length` bytes at `start`, in the kernel where it can; returns how many."""
    if sys.platform.startswith("linux"):
        try:
            return os.copy_file_range(source, target, length, start, start)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    block = os.pread(source, min(length, 2**20), start)
    view = memoryview(block)
    while view:
        view = view[os.pwrite(target, view, start + len(block) - len(view)) :]
    return len(block)
