"""The sealed memory that clones map: its content, that nobody can write it, and who shares it."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vclaw.errors import VclawError
from vclaw.templates import memory

SIZE = 2**24


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sparse file: data at its beginning and in its middle, a hole at its end."""
    path = tmp_path / "memory"
    with path.open("wb") as target:
        target.write(os.urandom(2**20))
        target.seek(SIZE // 2)
        target.write(os.urandom(2**20))
        target.truncate(SIZE)
    return path


@pytest.fixture
def sealed(file: Path) -> Iterator[int]:
    fd = memory.of(file, ())
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, SIZE + 1, 0)


def test_its_content_is_the_files_with_holes_for_holes(file: Path, sealed: int) -> None:
    assert content(sealed) == file.read_bytes()
    assert os.fstat(sealed).st_blocks * 512 == 2 * 2**20


def test_a_file_of_nothing_but_a_hole_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.touch()
    os.truncate(path, SIZE)
    fd = memory.of(path, ())
    assert content(fd) == bytes(SIZE)
    os.close(fd)


def test_nobody_can_write_it_or_change_its_size(file: Path, sealed: int) -> None:
    before = file.read_bytes()
    again = os.open(f"/proc/self/fd/{sealed}", os.O_RDWR)  # as QEMU opens it
    for fd in (sealed, again):
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        for size in (0, SIZE * 2):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    os.close(again)
    assert content(sealed) == before


def test_what_a_clone_writes_is_its_own(file: Path, sealed: int) -> None:
    before = file.read_bytes()
    with mmap.mmap(sealed, SIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        mapped[:4] = b"mine"
        assert mapped[:4] == b"mine"
        assert content(sealed) == before
    assert file.read_bytes() == before


def test_it_is_not_inherited_unless_it_is_handed_over(sealed: int) -> None:
    assert not os.get_inheritable(sealed)


HOLD = "import sys; print('held', flush=True); sys.stdin.readline()"


class Holder:
    """Another process that has a descriptor."""

    def __init__(self, fd: int) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(fd,),
        )
        assert self._child.stdout is not None
        self._child.stdout.readline()
        self.pid = self._child.pid

    def end(self) -> None:
        self._child.communicate(b"\n", timeout=10)


def test_a_clone_takes_over_the_memory_of_one_that_runs(file: Path, sealed: int) -> None:
    inode = memory.inode(sealed)
    holder = Holder(sealed)
    try:
        fd = memory.of(file, [(holder.pid, inode)])
        assert memory.inode(fd) == inode
        os.close(fd)
    finally:
        holder.end()


def test_a_memory_file_of_another_inode_is_not_taken(file: Path, sealed: int) -> None:
    holder = Holder(sealed)
    try:
        fd = memory.of(file, [(holder.pid, memory.inode(sealed) + 1), (2**22 + 1, 5)])
        assert memory.inode(fd) != memory.inode(sealed)
        assert content(fd) == file.read_bytes()
        os.close(fd)
    finally:
        holder.end()


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW])
def test_a_memory_file_that_can_be_written_is_not_taken(file: Path, seals: int) -> None:
    """As the process of a guest that broke out could put it there."""
    planted = os.memfd_create("vclaw-template", os.MFD_ALLOW_SEALING)
    os.write(planted, b"evil")
    fcntl.fcntl(planted, fcntl.F_ADD_SEALS, seals)
    holder = Holder(planted)
    try:
        fd = memory.of(file, [(holder.pid, memory.inode(planted))])
        assert memory.inode(fd) != memory.inode(planted)
        assert content(fd) == file.read_bytes()
        os.close(fd)
    finally:
        holder.end()
        os.close(planted)


def test_an_ordinary_file_of_that_inode_is_not_taken(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "memfd:vclaw-template"
    other.write_bytes(b"evil")
    with other.open("rb") as opened:
        holder = Holder(opened.fileno())
        try:
            fd = memory.of(file, [(holder.pid, other.stat().st_ino)])
            assert content(fd) == file.read_bytes()
            os.close(fd)
        finally:
            holder.end()


def test_a_memory_that_cannot_be_read_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    with pytest.raises(VclawError, match="memory cannot be read: No such file"):
        memory.of(tmp_path / "memory", ())
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_host_with_too_little_memory_is_told_as_such(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", refuse)
    with pytest.raises(VclawError, match="this host has too little memory"):
        memory.of(file, ())
