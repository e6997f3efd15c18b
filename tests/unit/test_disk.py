"""Copy-on-run with real small files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vclaw import disk, fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.home import ImagePaths
from vclaw.hypervisor.process import boot_id
from vclaw.images.meta import ImageMeta
from vclaw.paths import ClawPaths
from vclaw.progress import Silent

MIB = 2**20


def meta(form: str = "raw", boot: str = "firmware", virtual: int = 64 * MIB) -> ImageMeta:
    return ImageMeta(
        ref="debian:12",
        distro="debian",
        version="12",
        arch="amd64",
        serial="",
        digest="sha256:" + "a" * 64,
        source="built",
        signed_by="",
        format=form,
        boot=boot,
        cmdline="root=LABEL=vclaw-root" if boot == "kernel" else "",
        size=3 * MIB,
        virtual_size=virtual,
        fetched_at="2026-01-31T12:00:00Z",
        kernel_digest="sha256:" + "b" * 64 if boot == "kernel" else "",
        initrd_digest="sha256:" + "c" * 64 if boot == "kernel" else "",
    )


@pytest.fixture
def image(tmp_path: Path) -> ImagePaths:
    """A raw image of 64 MiB: 1 MiB of data, a hole, 2 MiB of data, a hole up to the end."""
    paths = ImagePaths(tmp_path / "image")
    paths.root.mkdir()
    with paths.image.open("wb") as file:
        file.write(os.urandom(MIB))
        file.seek(32 * MIB)
        file.write(os.urandom(2 * MIB))
        file.truncate(64 * MIB)
    paths.kernel.write_bytes(b"kernel")
    paths.initrd.write_bytes(b"initrd")
    return paths


@pytest.fixture
def claw(tmp_path: Path) -> ClawPaths:
    paths = ClawPaths(tmp_path / "claw")
    paths.root.mkdir()
    return paths


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def no_reflink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "reflink", lambda *_: False)


def test_the_copy_has_the_images_content_and_the_asked_size(
    image: ImagePaths, claw: ClawPaths
) -> None:
    made = disk.create(image, meta(), claw, 1, Silent())
    assert claw.disk.stat().st_size == made.virtual_size == 2**30
    with claw.disk.open("rb") as file:
        assert file.read(64 * MIB) == image.image.read_bytes()


def test_the_copy_is_independent_of_the_image(image: ImagePaths, claw: ClawPaths) -> None:
    before = image.image.read_bytes()
    disk.create(image, meta(), claw, 1, Silent())
    with claw.disk.open("r+b") as file:
        file.write(b"guest")
    assert image.image.read_bytes() == before


def test_holes_stay_holes(
    image: ImagePaths, claw: ClawPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_reflink(monkeypatch)
    disk.create(image, meta(), claw, 20, Silent())
    cp = tmp_path / "cp.img"
    subprocess.run(["cp", "--sparse=always", image.image, cp], check=True)
    assert allocated(claw.disk) <= allocated(cp) * 1.1


def test_a_file_that_is_one_hole_is_copied(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_reflink(monkeypatch)
    image.image.write_bytes(b"")
    os.truncate(image.image, 64 * MIB)
    disk.create(image, meta(), claw, 1, Silent())
    assert allocated(claw.disk) < MIB


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY])
def test_a_file_system_without_reflink_gets_a_sparse_copy(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(disk.fcntl, "ioctl", refuse)
    disk.create(image, meta(), claw, 1, Silent())
    with claw.disk.open("rb") as file:
        assert file.read(64 * MIB) == image.image.read_bytes()


def test_a_kernel_without_copy_file_range_gets_a_plain_copy(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    no_reflink(monkeypatch)
    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    disk.create(image, meta(), claw, 1, Silent())
    with claw.disk.open("rb") as file:
        assert file.read(64 * MIB) == image.image.read_bytes()


def test_progress_counts_the_data_without_the_holes(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(Silent):
        total = done = 0

        @contextlib.contextmanager
        def task(self, label: str, total: int) -> Iterator[Counting]:  # noqa: ARG002
            self.total = total
            yield self

        def advance(self, amount: int) -> None:
            self.done += amount

    no_reflink(monkeypatch)
    progress = Counting()
    disk.create(image, meta(), claw, 1, progress)
    assert progress.total == progress.done == 3 * MIB


def test_a_guests_disk_is_never_written_over(image: ImagePaths, claw: ClawPaths) -> None:
    first = disk.create(image, meta(), claw, 1, Silent())
    with claw.disk.open("r+b") as file:
        file.write(b"what the guest wrote")
    before = claw.disk.stat()
    second = disk.create(image, meta(), claw, 2, Silent())
    assert second == first
    assert claw.disk.read_bytes()[:20] == b"what the guest wrote"
    assert claw.disk.stat().st_mtime_ns == before.st_mtime_ns
    assert claw.disk.stat().st_ino == before.st_ino


def test_a_disk_whose_meta_is_damaged_is_left_alone(image: ImagePaths, claw: ClawPaths) -> None:
    disk.create(image, meta(), claw, 1, Silent())
    claw.disk_meta.write_text("{")
    before = claw.disk.stat().st_mtime_ns
    with pytest.raises(VclawError, match="damaged"):
        disk.create(image, meta(), claw, 1, Silent())
    assert claw.disk.stat().st_mtime_ns == before


def test_a_lost_disk_is_an_error_and_not_made_anew(image: ImagePaths, claw: ClawPaths) -> None:
    disk.create(image, meta(), claw, 1, Silent())
    claw.disk.unlink()
    with pytest.raises(VclawError, match="is gone"):
        disk.create(image, meta(), claw, 1, Silent())
    assert not claw.disk.exists()


def test_an_interrupted_copy_is_made_again(image: ImagePaths, claw: ClawPaths) -> None:
    claw.disk.write_bytes(b"half a copy")
    disk.create(image, meta(), claw, 1, Silent())
    with claw.disk.open("rb") as file:
        assert file.read(64 * MIB) == image.image.read_bytes()


def test_a_copy_that_fails_leaves_nothing(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    no_reflink(monkeypatch)
    monkeypatch.setattr(disk, "_copy_range", full)
    with pytest.raises(VclawError, match="No space left"):
        disk.create(image, meta(), claw, 1, Silent())
    assert list(claw.root.iterdir()) == []


def test_a_disk_smaller_than_its_image_is_refused_with_the_least_size(
    image: ImagePaths, claw: ClawPaths
) -> None:
    with pytest.raises(UsageError) as caught:
        disk.create(image, meta(virtual=3 * 2**30 + 1), claw, 3, Silent())
    assert "--disk-gib 4" in caught.value.hint
    assert list(claw.root.iterdir()) == []


def test_a_disk_as_large_as_its_image_is_made() -> None:
    assert disk.virtual_size(3, 3 * 2**30) == 3 * 2**30


def test_too_little_space_is_told_before_copying(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_reflink(monkeypatch)
    monkeypatch.setattr(fsutil, "free_bytes", lambda _: MIB)
    monkeypatch.setattr(disk, "_copy_range", lambda *_: pytest.fail("something was copied"))
    with pytest.raises(UsageError, match="missing"):
        disk.create(image, meta(), claw, 1, Silent())
    assert list(claw.root.iterdir()) == []


def test_holes_need_no_space(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsutil, "free_bytes", lambda _: 4 * MIB)
    disk.create(image, meta(), claw, 20, Silent())
    assert claw.disk_meta.exists()


def test_kernel_and_initrd_lie_beside_a_disk_that_boots_by_kernel(
    image: ImagePaths, claw: ClawPaths
) -> None:
    disk.create(image, meta(boot="kernel"), claw, 1, Silent())
    assert claw.kernel.read_bytes() == b"kernel"
    assert claw.initrd.read_bytes() == b"initrd"


def test_a_disk_that_boots_by_firmware_has_no_kernel(image: ImagePaths, claw: ClawPaths) -> None:
    disk.create(image, meta(), claw, 1, Silent())
    assert not claw.kernel.exists()


def test_disk_json_says_what_the_disk_is(image: ImagePaths, claw: ClawPaths) -> None:
    disk.create(image, meta(boot="kernel"), claw, 1, Silent())
    assert json.loads(claw.disk_meta.read_bytes()) == {
        "schema": 3,
        "format": "raw",
        "virtual_size": 2**30,
        "image": "debian:12",
        "digest": "sha256:" + "a" * 64,
        "boot": "kernel",
        "cmdline": "root=LABEL=vclaw-root",
        "source": "built",
        "signed_by": "",
        "kernel_digest": "sha256:" + "b" * 64,
        "initrd_digest": "sha256:" + "c" * 64,
        "base": "",
        "unsynced": boot_id(),
    }
    assert disk.load(claw.disk_meta) is not None


def test_a_settled_copy_outlives_a_restart_of_the_host_and_another_is_made_again(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.create(image, meta(), claw, 1, Silent())
    first = claw.disk.stat().st_ino
    with monkeypatch.context() as restarted:
        restarted.setattr(disk, "boot_id", lambda: "the next boot")
        assert not disk.is_whole(claw)
        disk.create(image, meta(), claw, 1, Silent())
        second = claw.disk.stat().st_ino
        disk.settle(claw)
    assert second != first
    disk.create(image, meta(), claw, 1, Silent())
    assert claw.disk.stat().st_ino == second


def test_settling_writes_out_all_that_a_boot_reads(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.kernel.write_bytes(b"kernel")
    image.initrd.write_bytes(b"initrd")
    disk.create(image, meta(boot="kernel"), claw, 1, Silent())
    synced: list[Path] = []
    monkeypatch.setattr(fsutil, "sync_file", synced.append)
    disk.settle(claw)
    assert synced[:3] == [claw.disk, claw.kernel, claw.initrd]
    assert (claw.kernel.read_bytes(), claw.initrd.read_bytes()) == (b"kernel", b"initrd")


def test_only_the_owner_can_read_the_disk(image: ImagePaths, claw: ClawPaths) -> None:
    disk.create(image, meta(), claw, 1, Silent())
    assert claw.disk.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
def test_a_qcow2_disk_grows_inside_its_format(image: ImagePaths, claw: ClawPaths) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image.image, "64M"], check=True)
    disk.create(image, meta(form="qcow2"), claw, 2, Silent())
    shown = subprocess.run(
        ["qemu-img", "info", "--output=json", claw.disk], check=True, capture_output=True
    )
    info = json.loads(shown.stdout)
    assert (info["format"], info["virtual-size"]) == ("qcow2", 2 * 2**30)
    assert "backing-filename" not in info


def test_a_qcow2_image_without_qemu_img_is_refused_before_anything_is_made(
    image: ImagePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="qemu-img"):
        disk.create(image, meta(form="qcow2"), claw, 1, Silent())
    assert list(claw.root.iterdir()) == []
