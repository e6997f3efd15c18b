"""The tiny guest's disk: made whole, and looked at for damage. What the guest does: tiny.S."""

from __future__ import annotations

import random
from pathlib import Path

SECTOR = 512
MAGIC = b"CLAWTINY"


def image(size: int, version: int = 0) -> bytes:
    """A disk image of `size` bytes; another `version` has another content all over."""
    code = Path(__file__).with_name("tiny.bin").read_bytes()
    rest = random.Random(version).randbytes(size - 2 * SECTOR)
    return code + MAGIC.ljust(SECTOR, b"\0") + rest


def boots(disk: Path) -> int:
    """How often the guest of this disk was booted."""
    with disk.open("rb") as file:
        file.seek(SECTOR + len(MAGIC))
        return int.from_bytes(file.read(4), "little")


def damage(disk: Path, image: bytes) -> str:
    """What of a claw's disk is not as its image and its guest made it, "" where all is."""
    with disk.open("rb") as file:
        found = file.read(len(image))
    if found[:SECTOR] != image[:SECTOR] or found[2 * SECTOR :] != image[2 * SECTOR :]:
        return f"{disk} is not what its image was"
    if found[SECTOR : SECTOR + len(MAGIC)] != MAGIC:
        return f"{disk} has lost its guest's sector"
    return ""
