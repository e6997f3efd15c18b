"""A claw's files are its owner's alone, and its state QEMU's: looked at before each start."""

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


def mixed(folder: Path, uid: int) -> bool:
    """Whether something right in `folder` belongs to another user than `uid`.

    Deeper it is not looked: a state has tens of thousands of files, and what made some of them as
    another user made some of these too.
    """
    with os.scandir(folder) as entries:
        return any(entry.stat(follow_symlinks=False).st_uid != uid for entry in entries)


def give(folder: Path, uid: int, gid: int) -> None:
    """Let all below `folder` belong to `uid`, which takes root; no link is followed.

    Each name is changed in the open folder that holds it, whatever its path leads to meanwhile.
    """
    for _, folders, files, fd in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            if os.stat(name, dir_fd=fd, follow_symlinks=False).st_uid != uid:
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
