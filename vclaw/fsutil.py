"""Files that appear whole: written beside, synced, and moved into place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

from vclaw import crashpoints
from vclaw.errors import UsageError, VclawError

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any

TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")
"""The names that `replacing` gives, with the writer's pid."""


@contextlib.contextmanager
def replacing(target: Path, mode: int = 0o644, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in target's folder; on success it becomes `target`.

    On any exception the temporary file is removed and `target` stays as it was. Without `sync`
    a power cut may leave a file that is not whole; the caller has to know that.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")  # see TEMPORARY
    os.close(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    try:
        yield temporary
        temporary.chmod(mode)
        if sync:
            sync_file(temporary)
        crashpoints.reach("file.written")
        temporary.replace(target)
        crashpoints.reach("file.placed")
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; never what a living one writes."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = TEMPORARY.fullmatch(path.name)
        if found is not None and not _is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def remove_tree(folder: Path) -> None:
    """Delete a folder with all in it; another process may be at the same work."""
    import shutil

    def failed(_function: object, _path: str, failure: Any) -> None:
        if not isinstance(failure[1], FileNotFoundError):
            raise failure[1]

    shutil.rmtree(folder, onerror=failed)


def write_atomic(target: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` so that readers see the old file or the new one, never a part."""
    with replacing(target, mode) as temporary:
        temporary.write_bytes(data)


def write_if_changed(target: Path, data: bytes, mode: int = 0o644) -> bool:
    """Write only where the content differs, so that file dependencies stay still.

    Returns whether the file was written.
    """
    try:
        if target.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    write_atomic(target, data, mode)
    return True


def json_bytes(value: Any) -> bytes:
    """JSON as vclaw stores it: indented, keys in the given order, one final newline."""
    return (json.dumps(value, indent=2) + "\n").encode()


def write_json(target: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` as JSON, atomically."""
    write_atomic(target, json_bytes(value), mode)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises FileNotFoundError where there is no file, VclawError where it is not a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise VclawError(
            f"{path} is damaged: {error}.", "Remove what it belongs to and make it again."
        ) from None
    if not isinstance(value, dict):
        raise VclawError(
            f"{path} is damaged: it holds no JSON object.",
            "Remove what it belongs to and make it again.",
        )
    return value


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents; `mode` is for the last one.

    Raises UsageError where it cannot be made or written.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UsageError(
            f"The folder {path} cannot be written: {error.strerror}.",
            "Make it writable, or set VCLAW_HOME, VCLAW_CACHE_DIR or VCLAW_DATA_DIR to "
            "a folder that is.",
        ) from None


def sync_file(path: Path) -> None:
    """Make the content of `path` survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename in `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write to the file system of `path`."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise UsageError that says how much is missing, before anything is written."""
    missing = needed - free_bytes(folder)
    if missing > 0:
        raise UsageError(
            f"{purpose} needs {mib(needed)} in {folder}, and {mib(missing)} of it are missing.",
            "Free some disk space (`vclaw image rm REF`, `vclaw rm CLAWID`), or set VCLAW_HOME "
            "to a larger disk.",
        )


def write_all(file: RawIOBase, data: bytes) -> None:
    """Write all of `data` to an unbuffered file; raises VclawError where the disk is full."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) or 0 :]
    except OSError as error:
        raise VclawError(
            f"{getattr(file, 'name', 'A file')} cannot be written: {error.strerror}.",
            "Free some disk space (`vclaw image rm REF`, `vclaw rm CLAWID`), then run the "
            "command again.",
        ) from None


def mib(size: int) -> str:
    """A number of bytes as whole MiB, rounded up: `12 MiB`."""
    return f"{-(-size // 2**20)} MiB"
