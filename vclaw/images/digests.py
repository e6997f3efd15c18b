"""SHA-256 of files; a file that has not changed since is not read again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from vclaw import fsutil, lock
from vclaw.errors import VclawError
from vclaw.home import Home

MAX_ENTRIES = 64
"""Files that are remembered; the oldest is forgotten first."""


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_file(path: Path, home: Home) -> str:
    """`sha256`, remembered in digests.json under path, size and mtime_ns."""
    stat = path.stat()
    facts = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    known = _index(home).get(str(path))
    if isinstance(known, dict) and known.get("facts") == facts:
        return str(known["sha256"])
    digest = sha256(path)
    after = path.stat()
    if [after.st_size, after.st_mtime_ns, after.st_ino] != facts:
        raise VclawError(f"{path} changed while it was read.", "Try again when it is complete.")
    _remember(home, str(path), {"facts": facts, "sha256": digest})
    return digest


def _index(home: Home) -> dict[str, Any]:
    try:
        return fsutil.read_json(home.digests)
    except (FileNotFoundError, VclawError):
        return {}  # it only saves time: begin anew


def _remember(home: Home, path: str, entry: dict[str, Any]) -> None:
    fsutil.make_folder(home.locks)
    with lock.locked(home.locks / "digests"):
        fsutil.sweep(home.cache)
        index = _index(home)
        index.pop(path, None)
        index[path] = entry
        kept = dict(list(index.items())[-MAX_ENTRIES:])
        fsutil.write_json(home.digests, kept)
