"""A disk image to measure with: as large and as full of holes as a real one."""

from __future__ import annotations

import random
from pathlib import Path

MIB = 2**20
DATA_MIB, HOLE_MIB = 12, 36
"""One stretch of data, then one hole, over and over: a quarter is data, as in debian:12."""


def write_raw(path: Path, data_mib: int) -> None:
    """Write a raw image with `data_mib` MiB of bytes that do not compress, and holes between."""
    # Seeded: every run measures the same bytes.
    chunk = random.Random(1).randbytes(DATA_MIB * MIB)
    stretches = data_mib // DATA_MIB
    with path.open("wb") as file:
        for number in range(stretches):
            file.seek(number * (DATA_MIB + HOLE_MIB) * MIB)
            file.write(chunk)
        file.truncate(stretches * (DATA_MIB + HOLE_MIB) * MIB)
