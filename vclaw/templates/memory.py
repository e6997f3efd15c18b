"""A template's memory as its clones map it: one sealed memory file for all that run.

QEMU opens a memory's file for writing, even where it only ever copies from it; before version 9
it cannot be told otherwise. A file on the disk that every claw's QEMU may write would let one
claw change the others. So the memory is read into a memfd, which is sealed: nobody can write it
any more, whatever way it was opened (memfd_create(2), fcntl(2) F_SEAL_WRITE). It lives as long as
a clone does, and each new clone takes it over from one that runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from vclaw import disk
from vclaw.errors import VclawError

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

CHUNK = 64 * 2**20
"""Bytes that the kernel copies at a time."""


def of(file: Path, pids: Iterable[tuple[int, int]]) -> int:
    """An open descriptor of the sealed memory whose content is that of `file`.

    `pids` are processes that may have it already, each with its inode's number there: vclaw's
    own record of it, since a process can give any name to a memory file of its own.
    """
    for pid, inode in pids:
        found = _of_process(pid, inode)
        if found is not None:
            return found
    return _read(file)


def inode(fd: int) -> int:
    """What tells this memory from any other on this host."""
    return os.fstat(fd).st_ino


def _of_process(pid: int, wanted: int) -> int | None:
    folder = Path(f"/proc/{pid}/fd")
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                if not str(link.readlink()).startswith("/memfd:") or link.stat().st_ino != wanted:
                    continue
                fd = os.open(link, os.O_RDWR | os.O_CLOEXEC)
                if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS == SEALS:
                    return fd
                os.close(fd)
    return None


def _read(file: Path) -> int:
    memory = os.memfd_create("vclaw-template", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            os.ftruncate(memory, size)
            for start, length in disk.data_extents(source.fileno(), size):
                _copy(source.fileno(), memory, start, length)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
    except OSError as error:
        os.close(memory)
        full = error.errno in (errno.ENOMEM, errno.ENOSPC)
        why = "this host has too little memory" if full else error.strerror
        raise VclawError(f"The template's memory cannot be read: {why}.") from None
    return memory


def _copy(source: int, target: int, start: int, length: int) -> None:
    os.lseek(target, start, os.SEEK_SET)
    end = start + length
    while start < end:
        done = os.sendfile(target, source, start, min(CHUNK, end - start))
        if done == 0:
            raise OSError(errno.EIO, "the file became shorter")
        start += done
