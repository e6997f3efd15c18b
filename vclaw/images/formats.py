"""Tells disk image formats apart by their first bytes, and reads what a header says."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from vclaw.errors import VclawError

QCOW2_HEADER = struct.Struct(">4sIQIIQ")
"""magic, version, backing_file_offset, backing_file_size, cluster_bits, size (big-endian);
from QEMU's docs/interop/qcow2. Version 3 goes on with 64-bit feature masks at byte 72."""

EXTERNAL_DATA = 1 << 2
"""Incompatible feature bit of qcow2: the data is in another file."""

FOREIGN = {
    b"KDMV": "VMDK",
    b"# Disk DescriptorFile": "VMDK",
    b"vhdxfile": "VHDX",
    b"conectix": "VHD",
    b"<<< ": "VDI",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"(\xb5/\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
"""How files begin that QEMU could only use after a conversion -> what they are."""


class FormatError(VclawError):
    """A file that is no disk image, or none that vclaw can use."""


@dataclass(frozen=True)
class DiskFormat:
    """What a disk image is."""

    format: str  # raw | qcow2
    virtual_size: int  # bytes that the guest sees


def inspect(path: Path, bootable: bool = False) -> DiskFormat:
    """Read the format and virtual size of an image.

    With `bootable` a raw image must have a boot sector, as firmware wants it. Raises FormatError
    for a file that is no disk image vclaw can use; a qcow2 that leads to other files is one,
    since whoever wrote it could thus read this host's files.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head[:4] == b"QFI\xfb":
        return DiskFormat("qcow2", _qcow2_size(path, head))
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            raise FormatError(
                f"{path} is a {name} file, and vclaw boots raw and qcow2 images.",
                "Unpack it, or convert it with `qemu-img convert -O qcow2`.",
            )
    size = path.stat().st_size
    if size == 0 or size % 512 or (bootable and head[510:512] != b"\x55\xaa"):
        raise FormatError(
            f"{path} is not a disk image that boots: it is no qcow2 and has no boot sector.",
            "Give the path of a raw or qcow2 disk image with a boot loader and cloud-init.",
        )
    return DiskFormat("raw", size)


def _qcow2_size(path: Path, head: bytes) -> int:
    hint = "Take a complete qcow2 image of version 2 or 3, without a backing or data file."
    if len(head) < 104:
        raise FormatError(f"{path} is a truncated qcow2 image.", hint)
    _, version, backing, _, _, size = QCOW2_HEADER.unpack_from(head)
    if version not in (2, 3) or size == 0:
        raise FormatError(f"{path} is a qcow2 image that vclaw cannot use.", hint)
    external = version == 3 and struct.unpack_from(">Q", head, 72)[0] & EXTERNAL_DATA
    if backing or external:
        raise FormatError(f"{path} is a qcow2 image that needs another file.", hint)
    return int(size)
