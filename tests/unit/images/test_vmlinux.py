"""A kernel is unpacked where a hypervisor can begin it so, and left as it is otherwise."""

from __future__ import annotations

import gzip
import lzma
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vclaw.images import vmlinux

SETUP_SECTORS = 3
PAYLOAD_OFFSET = 40
NEEDS_ZSTD = pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")


def note(owner: bytes, kind: int) -> bytes:
    """A note with eight bytes in it; the owner's four need no padding."""
    return struct.pack("<III", len(owner), 8, kind) + owner + bytes(8)


def elf(*notes: bytes) -> bytes:
    """A 64-bit ELF file with one loaded segment, and one of notes at its end."""
    body, told = b"kernel" * 1000 + bytes(200_000), b"".join(notes)
    start = 64 + 2 * 56
    headers = [(1, 5, start, len(body)), (4, 4, start + len(body), len(told))]
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    packed = [struct.pack("<IIQQQQQQ", k, f, at, 0, 0, n, n, 4) for k, f, at, n in headers]
    return head + b"".join(packed) + body + told


def bzimage(payload: bytes, version: int = 0x20F) -> bytes:
    """A bzImage around a payload, as the boot protocol lays it out."""
    head = bytearray((SETUP_SECTORS + 1) * 512 + PAYLOAD_OFFSET)
    head[0x1F1] = SETUP_SECTORS
    struct.pack_into("<4sH", head, 0x202, b"HdrS", version)
    struct.pack_into("<II", head, 0x248, PAYLOAD_OFFSET, len(payload))
    return bytes(head) + payload + b"what follows"


def sized(packed: bytes, unpacked: bytes) -> bytes:
    """A payload as the kernel's build makes it, with the unpacked size behind it."""
    return packed + struct.pack("<I", len(unpacked))


def xz(data: bytes) -> bytes:
    return sized(lzma.compress(data), data)


def zstd(data: bytes) -> bytes:
    packed = subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout
    return sized(packed, data)


PVH = elf(note(b"GNU\0", 3), note(b"Xen\0", 6), note(b"Xen\0", 18))
NOISY = PVH + random.Random(1).randbytes(5000)


@pytest.mark.parametrize(
    "pack",
    [
        xz,
        gzip.compress,
        pytest.param(zstd, marks=NEEDS_ZSTD),
    ],
    ids=["xz", "gzip", "zstd"],
)
def test_the_kernel_within_is_found_byte_for_byte(pack: Callable[[bytes], bytes]) -> None:
    assert vmlinux.unpack(bzimage(pack(PVH))) == PVH


@pytest.mark.parametrize(
    "kernel",
    [
        bzimage(xz(elf(note(b"Xen\0", 6), note(b"GNU\0", 18)))),
        bzimage(xz(elf())),
        bzimage(xz(PVH), version=0x207),
        bzimage(xz(b"no ELF file")),
        bzimage(xz(PVH[:70])),
        bzimage(sized(lzma.compress(PVH)[:-40].replace(b"\0", b"\1"), PVH)),
        bzimage(sized(lzma.compress(NOISY)[:-1000], NOISY)),
        bzimage(b"\x1f\x8b\x08 damaged"),
        bzimage(b"\x28\xb5\x2f\xfd damaged"),
        bzimage(sized(b"\x02\x21\x4c\x18 lz4, which nothing here reads", PVH)),
        bzimage(xz(PVH))[:600],
        PVH,
        b"",
    ],
    ids=[
        "no-entry", "no-notes", "old-protocol", "no-elf", "cut-elf", "damaged-xz", "half-an-xz",
        "damaged-gzip", "damaged-zstd", "unknown-compression", "cut", "no-bzimage", "empty",
    ],
)  # fmt: skip
def test_any_other_kernel_stays_as_it_is(kernel: bytes) -> None:
    assert vmlinux.unpack(kernel) is None


@NEEDS_ZSTD
def test_a_host_without_zstd_leaves_a_kernel_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = bzimage(zstd(PVH))
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    assert vmlinux.unpack(kernel) is None


def test_zeros_are_holes_in_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"what was there before, and longer" * 20_000)
    vmlinux.write(path, PVH + bytes(500_000))
    assert path.read_bytes() == PVH + bytes(500_000)
    assert path.stat().st_blocks * 512 < len(PVH)
