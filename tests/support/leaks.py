"""Where a secret can be seen that nobody but its owner may see: files, command lines, outputs."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

POLL_SECONDS = 0.1


def in_files(words: Collection[bytes], roots: Iterable[Path]) -> list[str]:
    """Regular files below `roots` with one of `words`, but those for their owner alone (0600)."""
    found = []
    for root in roots:
        for folder, _, names in os.walk(root):
            for path in (Path(folder, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
                        found += [f"{path}: {word!r}" for word in _in_file(words, path)]
    return found


def _in_file(words: Collection[bytes], path: Path) -> list[bytes]:
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [word for word in words if data.find(word) >= 0]


def in_command_lines(words: Collection[bytes]) -> set[str]:
    """Processes of this host with one of `words` in their argv, as `PID NAME: WORD`."""
    found = set()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            argv = line.read_bytes()
            name = argv.partition(b"\0")[0].decode(errors="replace")
            found |= {f"{line.parent.name} {name}: {word!r}" for word in words if word in argv}
    return found


@contextlib.contextmanager
def watched_command_lines(words: Collection[bytes]) -> Iterator[set[str]]:
    """Look at all command lines again and again while the block runs; yields what is seen."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL_SECONDS):
            seen.update(in_command_lines(words))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
