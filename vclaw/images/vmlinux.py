"""Unpacks the kernel of a PC, which would do that itself at each boot of each guest.

What distributions install as vmlinuz is a bzImage: a program that unpacks an ELF file, vmlinux,
into memory. An emulated processor takes four seconds for it. A hypervisor begins the ELF file
itself, where a note in it names the entry for that (PVH). What is lost is that the program also
moves the kernel to a random address: no defence against a guest's own user, who is root there.

Formats: the Linux kernel's Documentation/arch/x86/boot.rst (the header, from protocol 2.08 on),
elf(5), and XEN_ELFNOTE_PHYS32_ENTRY in Xen's public/elfnote.h.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

SECTOR = 512
PROTOCOL_WITH_PAYLOAD = 0x0208
PT_NOTE = 4
PVH_ENTRY = (b"Xen\0", 18)
BLOCK = 2**16


def unpack(kernel: bytes) -> bytes | None:
    """The vmlinux within a bzImage; None where there is none that a hypervisor can begin.

    That is so for another architecture's kernel, one that is damaged, a compression that cannot
    be read on this host, and a kernel without the entry.
    """
    try:
        payload = _payload(kernel)
        unpacked = _decompress(payload)
        # The build of a kernel puts the unpacked size after it, where gzip does not by itself.
        whole = payload[-4:] == struct.pack("<I", len(unpacked))
        found = whole and PVH_ENTRY in _notes(unpacked)
    except (ValueError, struct.error, lzma.LZMAError, zlib.error, OSError):
        return None
    return unpacked if found else None


def write(path: Path, vmlinux: bytes) -> None:
    """Write a kernel; what is zero stays a hole, which is half of it."""
    with path.open("wb") as file:
        for start in range(0, len(vmlinux), BLOCK):
            block = vmlinux[start : start + BLOCK]
            if block.strip(b"\0"):
                file.seek(start)
                file.write(block)
        file.truncate(len(vmlinux))


def _payload(kernel: bytes) -> bytes:
    """The compressed kernel in a bzImage."""
    magic, version = struct.unpack_from("<4sH", kernel, 0x202)
    if magic != b"HdrS" or version < PROTOCOL_WITH_PAYLOAD:
        raise ValueError("no bzImage")
    start, length = struct.unpack_from("<II", kernel, 0x248)
    start += ((kernel[0x1F1] or 4) + 1) * SECTOR
    return kernel[start : start + length]


def _decompress(data: bytes) -> bytes:
    """What is in the payload, by the bytes that it begins with; "" where zstd refuses it."""
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(data)
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data)
    zstd = shutil.which("zstd")
    if data.startswith(b"\x28\xb5\x2f\xfd") and zstd:
        done = subprocess.run([zstd, "-dc"], input=data[:-4], capture_output=True)
        return done.stdout if done.returncode == 0 else b""
    raise ValueError("unknown compression")


def _notes(elf: bytes) -> Iterator[tuple[bytes, int]]:
    """The (owner, type) of each note of a 64-bit little-endian ELF file."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no ELF file of this kind")
    (headers,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for at in range(headers, headers + count * size, size):
        kind, _flags, start, _virtual, _physical, length = struct.unpack_from("<IIQQQQ", elf, at)
        if kind == PT_NOTE:
            yield from _notes_in(elf[start : start + length])


def _notes_in(segment: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + 12 <= len(segment):
        name, description, kind = struct.unpack_from("<III", segment, at)
        yield segment[at + 12 : at + 12 + name], kind
        at += 12 + _aligned(name) + _aligned(description)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
