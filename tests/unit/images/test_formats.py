"""Disk images are known by their bytes, and dangerous ones refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.image_server import qcow2
from vclaw.images import formats


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "disk.img"
    path.write_bytes(content)
    return path


def test_qcow2_is_known_by_its_magic_and_tells_its_virtual_size(tmp_path: Path) -> None:
    found = formats.inspect(_file(tmp_path, qcow2(7 * 2**30)), bootable=True)
    assert found == formats.DiskFormat("qcow2", 7 * 2**30)


def test_a_raw_image_is_as_large_as_its_file(tmp_path: Path) -> None:
    sector = bytes(510) + b"\x55\xaa"
    found = formats.inspect(_file(tmp_path, sector + bytes(512)), bootable=True)
    assert found == formats.DiskFormat("raw", 1024)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a disk image"),
        (bytes(1024), "not a disk image"),
        (b"KDMV" + bytes(508), "VMDK"),
        (b"\xfd7zXZ\x00" + bytes(506), "xz"),
        (qcow2()[:60], "truncated"),
        (struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 4096, 9, 16, 2**20).ljust(512, b"\0"), "another"),
        (
            struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 2**20).ljust(72, b"\0")
            + struct.pack(">Q", 4).ljust(440, b"\0"),
            "another",
        ),
    ],
)
def test_what_cannot_be_booted_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(formats.FormatError, match=said):
        formats.inspect(_file(tmp_path, content), bootable=True)
