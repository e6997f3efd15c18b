"""Writing the seed's ISO, against xorriso with the same files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from vclaw import seed

SCRIPT = """
import sys, time
from pathlib import Path
from vclaw import seed
folder, target = map(Path, sys.argv[1:])
names = [path for path in folder.rglob("*") if path.is_file()]
files = {str(path.relative_to(folder)): path.read_bytes() for path in names}
start = time.perf_counter()
seed.write_iso(files, target)
print(time.perf_counter() - start)
"""
"""In a process of its own, so that importing pycdlib is paid every time, as `vclaw run` does."""


def compare(folder: Path) -> Iterable[Result]:
    """Both make an ISO with Joliet and Rock Ridge, labelled `cidata`, on the same disk."""
    files = folder / "files"
    lay_out(files)

    def ours() -> float:
        words: list[str | Path] = [sys.executable, "-c", SCRIPT, files, folder / "ours.iso"]
        return float(subprocess.check_output(words))

    def theirs() -> float:
        return xorriso(files, folder / "theirs.iso")

    yield in_turns("seed.write_iso", "xorriso", None, ours, theirs, rounds=9)


def lay_out(folder: Path) -> None:
    """Write the seed's files into a folder."""
    for name, data in _files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def xorriso(files: Path, target: Path) -> float:
    """How long xorriso takes for the same ISO, in seconds."""
    target.unlink(missing_ok=True)
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-R"]
    return seconds_of_command([*words, "-o", target, files])


def _files() -> dict[str, bytes]:
    """The seed's files, with settings of about the usual size."""
    return seed.render({"hostname": "bench", "token": "x" * 43, "ca": "x" * 2000})
