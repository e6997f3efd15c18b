"""Making a claw's disk, against `cp --sparse=always`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tests.bench import sample
from tests.bench.measure import Result, in_turns, seconds_of, seconds_of_command
from vclaw import disk
from vclaw.home import ImagePaths
from vclaw.images.meta import ImageMeta
from vclaw.paths import ClawPaths
from vclaw.progress import Silent

DATA_MIB = 768
DISK_GIB = 20


def compare(folder: Path) -> Iterable[Result]:
    """Both copy a raw image of 3 GiB, of which 768 MiB are data, within one file system."""
    image, claw = ImagePaths(folder / "image"), ClawPaths(folder / "claw")
    image.root.mkdir()
    sample.write_raw(image.image, DATA_MIB)
    meta = _meta(image.image.stat().st_size)

    def ours() -> float:
        shutil.rmtree(claw.root, ignore_errors=True)
        claw.root.mkdir()
        seconds = seconds_of(lambda: disk.create(image, meta, claw, DISK_GIB, Silent()))
        shutil.rmtree(claw.root)
        return seconds

    def theirs(script: str) -> float:
        target = folder / "copy.img"
        seconds = seconds_of_command(["sh", "-c", script, image.image, target])
        target.unlink()
        return seconds

    copy = 'cp --sparse=always "$0" "$1"'
    plain = partial(theirs, copy)
    yield in_turns("disk.create", "cp --sparse=always", 1.1, ours, plain, rounds=7)
    # How much of the difference is that ours is on the disk when it returns.
    synced = partial(theirs, copy + ' && sync "$1"')
    yield in_turns("disk.create", "the same and sync", None, ours, synced, rounds=7)


def _meta(size: int) -> ImageMeta:
    return ImageMeta(
        ref="file",
        distro="file",
        version="0" * 64,
        arch="amd64",
        serial="",
        digest="sha256:" + "0" * 64,
        source="",
        signed_by="",
        format="raw",
        boot="firmware",
        cmdline="",
        size=size,
        virtual_size=size,
        fetched_at="2026-01-01T00:00:00Z",
        kernel_digest="",
        initrd_digest="",
    )
