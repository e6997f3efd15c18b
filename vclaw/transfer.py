"""Files and folders as a tar stream, to and from folders that a hostile guest may write too.

A guest decides what comes back, and in a workspace it can swap a folder for a link at any
moment. So neither scp nor tarfile's own extraction will do: both open what they write by its
path, and follow a link that lies there. Here every file is reached through the descriptor of
its folder, no link is followed, and what is complete replaces what was there by a rename. For
the same reason a link is sent as a link: following it would hand the host's files to the guest.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

from vclaw.errors import UsageError, VclawError

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MODE = 0o777
"""The mode bits that are kept; setuid, setgid and sticky are not for a file from elsewhere."""

ITEM = "item"
"""The name of a single file or link in the stream; a folder is `.`."""

LeftOut = Callable[[str, str], None]
"""Told the path and the reason for whatever is not copied."""


@contextlib.contextmanager
def folder(path: Path, workspace: Path) -> Iterator[int]:
    """A descriptor of an absolute folder, reached by no link that lies in `workspace`.

    Raises UsageError where it is not there or such a link is on the way.
    """
    refuse_links(path, workspace)
    root = workspace.resolve()
    if not path.is_dir():
        raise UsageError(f"There is no folder {path}.", "Make it first, or check the name.")
    real = path.resolve()
    inside = real.is_relative_to(root)
    fd = os.open(root if inside else real, FOLDER_FLAGS)
    try:
        for part in real.relative_to(root).parts if inside else ():
            try:
                below = os.open(part, FOLDER_FLAGS, dir_fd=fd)
            except OSError:
                raise _leads_out(path) from None
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def refuse_links(path: Path, workspace: Path) -> None:
    """Raise UsageError where a link that lies in `workspace` is on the way to a path, or is it."""
    root = workspace.resolve()
    for place in (path, *path.parents):
        if place.is_symlink() and place.parent.resolve().is_relative_to(root):
            raise _leads_out(place)


def _leads_out(place: Path) -> UsageError:
    return UsageError(
        f"{place} is a link in the workspace, which the guest may have made.",
        "Name the place that it leads to, if you mean that.",
    )


def pack(parent: int, name: str, out: IO[bytes], left_out: LeftOut) -> None:
    """Write the file, link or folder `name` of the folder `parent` to `out` as a tar stream.

    Modes, times to the nanosecond and links are kept. Raises OSError and tarfile.TarError.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        _pack(tar, parent, name, "." if stat.S_ISDIR(kind) else ITEM, left_out)


def _pack(tar: tarfile.TarFile, parent: int, name: str, path: str, left_out: LeftOut) -> None:
    seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode):
        member = _member(path, seen, tarfile.SYMTYPE)
        member.linkname = os.readlink(name, dir_fd=parent)
        tar.addfile(member)
    elif stat.S_ISDIR(seen.st_mode):
        fd = os.open(name, FOLDER_FLAGS, dir_fd=parent)
        try:
            tar.addfile(_member(path, os.fstat(fd), tarfile.DIRTYPE))
            for child in sorted(os.listdir(fd)):  # noqa: PTH208
                _pack(tar, fd, child, f"{path}/{child}", left_out)
        finally:
            os.close(fd)
    elif stat.S_ISREG(seen.st_mode):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=parent), "rb") as file:  # noqa: PTH123
            seen = os.fstat(file.fileno())
            member = _member(path, seen, tarfile.REGTYPE)
            member.size = seen.st_size
            tar.addfile(member, file)
    else:
        left_out(path, "it is neither a file nor a folder nor a link")


def _member(path: str, seen: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = stat.S_IMODE(seen.st_mode) & MODE
    seconds, nanoseconds = divmod(seen.st_mtime_ns, 10**9)
    member.mtime = seconds
    member.pax_headers = {"mtime": f"{seconds}.{nanoseconds:09}"}
    return member


def unpack(stream: IO[bytes], root: str, parent: int, name: str, left_out: LeftOut) -> int:
    """Write a tar stream whose members are `root` and what is below it as `parent`/`name`.

    What is there already is replaced, folders are merged. Returns how many members there were.
    Raises VclawError where the stream is damaged or holds a name that is not below `root`;
    nothing outside of `name` is ever written.
    """
    target = _Target(parent, name, left_out)
    try:
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
            for member in tar:
                target.add(tar, member, _parts(member.name, root))
        target.finish()
    except tarfile.TarError as error:
        raise VclawError(f"What came from the guest is no whole archive: {error}.") from None
    except (OverflowError, ValueError) as error:
        raise VclawError(f"What came from the guest is damaged: {error}.") from None
    return target.count


def _parts(path: str, root: str) -> tuple[str, ...]:
    """The path of a member below `root`, in parts; raises VclawError for any other path."""
    first, *rest = path.rstrip("/").split("/")
    if first != root or any(part in ("", ".", "..") or "\0" in part for part in rest):
        raise VclawError(f"The guest sent a file that was not asked for: {path!r}.")
    return tuple(rest)


class _Target:
    """Where a stream goes to: `name` in the folder `parent`."""

    def __init__(self, parent: int, name: str, left_out: LeftOut) -> None:
        self._parent = parent
        self._name = name
        self._left_out = left_out
        self._folders: dict[tuple[str, ...], tuple[int, int]] = {}
        self.count = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...]) -> None:
        self.count += 1
        path = (self._name, *parts)
        shown = "/".join(path)
        if member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            with self._folder(path[:-1]) as fd, _replacing(fd, path[-1], shown) as temporary:
                _write(fd, temporary, content, member)
        elif member.isdir():
            with self._folder(path[:-1]) as fd:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path[-1], 0o700, dir_fd=fd)
                with _entered(fd, path[-1], shown):
                    self._folders[path] = (member.mode & MODE, _mtime_ns(member))
        elif member.issym():
            if not stays_inside(parts, member.linkname):
                self._left_out(shown, f"it is a link to {member.linkname!r}, which is outside")
                return
            with self._folder(path[:-1]) as fd, _replacing(fd, path[-1], shown) as temporary:
                os.symlink(member.linkname, temporary, dir_fd=fd)
                times = (_mtime_ns(member),) * 2
                os.utime(temporary, ns=times, dir_fd=fd, follow_symlinks=False)
        else:
            self._left_out(shown, "it is neither a file nor a folder nor a link")

    def finish(self) -> None:
        """Folders last: writing into one changes its time, and may need more than its mode."""
        for path, (mode, mtime) in reversed(self._folders.items()):
            with self._folder(path) as fd:
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime, mtime))

    @contextlib.contextmanager
    def _folder(self, path: tuple[str, ...]) -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            fd = self._parent
            for depth, part in enumerate(path, 1):
                fd = stack.enter_context(_entered(fd, part, "/".join(path[:depth])))
            yield fd


@contextlib.contextmanager
def _entered(parent: int, name: str, shown: str) -> Iterator[int]:
    try:
        fd = os.open(name, FOLDER_FLAGS, dir_fd=parent)
    except OSError:
        raise VclawError(f"{shown} is there and is no folder.", "Move it away first.") from None
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _replacing(fd: int, name: str, shown: str) -> Iterator[str]:
    """A name for a new file in the folder `fd`, which takes the place of `name` in the end."""
    temporary = f".vclaw-{secrets.token_hex(8)}"
    try:
        yield temporary
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=fd)
        if isinstance(error, IsADirectoryError):
            raise VclawError(f"{shown} is there and is a folder.", "Move it away first.") from None
        raise


def _write(fd: int, name: str, content: IO[bytes], member: tarfile.TarInfo) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=fd), "wb") as file:  # noqa: PTH123
        shutil.copyfileobj(content, file, 2**20)
        file.flush()
        os.fchmod(file.fileno(), member.mode & MODE)
        os.utime(file.fileno(), ns=(_mtime_ns(member),) * 2)


def _mtime_ns(member: tarfile.TarInfo) -> int:
    """In nanoseconds; tarfile's own value is a float, which keeps less."""
    try:
        return int(Decimal(member.pax_headers["mtime"]) * 10**9)
    except (KeyError, InvalidOperation):
        return int(member.mtime * 10**9)


def stays_inside(parts: tuple[str, ...], target: str) -> bool:
    """Whether a link at `parts` below a folder leads to a place in that folder.

    `..` may stand at its beginning only: after a name, which may be a link itself, nobody can
    tell where it leads.
    """
    if posixpath.isabs(target):
        return False
    words = [word for word in target.split("/") if word not in ("", ".")]
    ups = next((i for i, word in enumerate(words) if word != ".."), len(words))
    return ups <= len(parts) - 1 and ".." not in words[ups:]
