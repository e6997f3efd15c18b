"""A claw's files are its owner's alone: looked at before each start, and mended."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from vclaw.paths import ClawPaths

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close(paths: ClawPaths) -> list[Path]:
    """Take others' rights from the claw's folders and from files that hold secrets or the disk.

    Returns what was open. The guest can replace none of these; still no link is followed.
    """
    folders = (paths.root.parent, paths.root, paths.state, paths.sockets, paths.logs)
    files = (
        *(paths.secrets, paths.guest, paths.ssh_key, paths.seed, paths.disk),
        *(paths.run, paths.helpers, paths.browser_page, paths.serial_log),
    )
    return [path for path in (*folders, *files) if _close(path)]


def _close(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if not mode & OTHERS:
            return False
        os.fchmod(fd, mode & ~OTHERS)
        return True
    finally:
        os.close(fd)
