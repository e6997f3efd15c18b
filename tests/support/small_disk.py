"""A real file system of a few MiB that can be filled up to the last page."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = os.sysconf("SC_PAGE_SIZE")
"""tmpfs gives out space in pages."""


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs; everything is made in `root`."""

    root: Path

    @property
    def _filler(self) -> Path:
        return self.root / ".filler"

    def leave(self, pages: int) -> None:
        """Fill it up so that so many pages are free."""
        self._filler.unlink(missing_ok=True)
        free = os.statvfs(self.root).f_bfree - pages
        assert free >= 0
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free * PAGE) if free else None
        assert os.statvfs(self.root).f_bfree == pages

    def empty(self) -> None:
        """Give all the space back."""
        self._filler.unlink(missing_ok=True)


def mounted(where: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount one for a test, which is skipped where this user may not."""
    where.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "vclaw-test", str(where)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount on this host")
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount: {done.stderr.strip()}")
    try:
        yield SmallDisk(where)
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)
