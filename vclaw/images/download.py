"""Downloads one large file whose sha256 is known, and goes on where an earlier try stopped."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vclaw import crashpoints, fsutil
from vclaw.errors import VclawError
from vclaw.home import ImagePaths
from vclaw.images.http import Client, TransientError, unreachable
from vclaw.progress import Progress, Task

if TYPE_CHECKING:
    from requests import Response

CHUNK = 2**20
"""Bytes that are read, hashed and written at a time."""

CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)", re.ASCII)
"""Content-Range with a known total, RFC 9110, section 14.4."""


class WrongDigestError(VclawError):
    """The file arrived whole, and is not the one that was promised."""


@dataclass(frozen=True)
class Wanted:
    """What to download."""

    url: str
    sha256: str  # hex
    label: str  # how progress and errors call it


def fetch(wanted: Wanted, paths: ImagePaths, client: Client, progress: Progress) -> None:
    """Download to `paths.partial`, which then is complete, synced and has the right digest.

    The part of an earlier, broken download is used when it was of the same sha256, and only
    then. Raises WrongDigestError, after which nothing is kept, UsageError where the disk is too
    small, and VclawError where the network fails; then the part stays for the next time.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_drop_if_empty, paths)
        transfer = _Transfer(wanted, paths, client, progress, stack)
        resumed = transfer.done
        client.retrying(transfer.attempt, gained=lambda: transfer.done)
        if transfer.digest() != wanted.sha256 and resumed:
            # The old part was bad, not what came now: once more, from the start.
            progress.say(f"The part of {wanted.label} that was on the disk is damaged; it goes.")
            transfer.restart()
            client.retrying(transfer.attempt, gained=lambda: transfer.done)
        got = transfer.digest()
        if got != wanted.sha256:
            transfer.restart()  # an empty part is dropped below
            raise WrongDigestError(
                f"{wanted.url} has the digest sha256:{got}, and its signed list "
                f"says sha256:{wanted.sha256}.",
                "Nothing of it was kept. Try again; if it stays so, the server or a proxy "
                "changes the file.",
            )
        transfer.sync()
    crashpoints.reach("image.complete")
    paths.partial_meta.unlink()


class _Transfer:
    """A partial file, the hash of what is in it, and the requests that complete it."""

    def __init__(
        self,
        wanted: Wanted,
        paths: ImagePaths,
        client: Client,
        progress: Progress,
        stack: contextlib.ExitStack,
    ) -> None:
        self._wanted = wanted
        self._paths = paths
        self._client = client
        self._progress = progress
        self._stack = stack
        self._task: Task | None = None
        self.done = 0
        self._hash = hashlib.sha256()
        same = _belongs(paths, wanted.sha256)
        fsutil.write_json(paths.partial_meta, {"sha256": wanted.sha256, "url": wanted.url})
        self._file: Any = stack.enter_context(
            paths.partial.open("r+b" if same else "w+b", buffering=0)
        )
        if same:
            self._hash_what_is_there()

    def attempt(self) -> None:
        """One request for what is missing; returns when the file is complete."""
        headers = {"Range": f"bytes={self.done}-"} if self.done else {}
        with self._client.get(self._wanted.url, headers) as response:
            total = self._accept(response)
            self._receive(response, total)
        if total is not None and self.done != total:
            raise TransientError(f"{self._wanted.url} ended early.", "Run the command again.")

    def restart(self) -> None:
        """Forget all that is there."""
        if self._task is not None:
            self._task.advance(-self.done)
        self.done = 0
        self._hash = hashlib.sha256()
        self._file.seek(0)
        self._file.truncate()

    def digest(self) -> str:
        """sha256 of what is in the file, in hex."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Make the file survive a power cut."""
        os.fsync(self._file.fileno())

    def _accept(self, response: Response) -> int | None:
        """Bring file and answer together; returns the size of the whole file, where told."""
        match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code == 416:
            if match is None or int(match[2]) != self.done:
                # What is there is longer than the file, or the server does not say.
                self.restart()
                raise TransientError(f"{self._wanted.url} cannot be resumed.", "Try again.")
            return self._follow(self.done)
        if response.status_code == 206 and match and match[1] and int(match[1]) == self.done:
            return self._follow(int(match[2]))
        if response.status_code == 206:
            self.restart()
            raise TransientError(f"{self._wanted.url} sent another part.", "Try again.")
        if self.done:
            self.restart()  # the server sends all of it, whatever was asked for
        length = response.headers.get("Content-Length", "")
        whole = length.isascii() and length.isdigit()
        return self._follow(int(length)) if whole else None

    def _follow(self, total: int) -> int:
        """Check the space and begin to show progress, once the size is known."""
        if self._task is None:
            missing = total - self.done
            fsutil.require_space(self._paths.root, missing, f"Fetching {self._wanted.label}")
            context = self._progress.task(f"fetching {self._wanted.label}", total)
            self._task = self._stack.enter_context(context)
            self._task.advance(self.done)
        return total

    def _receive(self, response: Response, total: int | None) -> None:
        from urllib3.exceptions import HTTPError

        while total is None or self.done < total:
            try:
                chunk: bytes = response.raw.read(CHUNK, decode_content=False)
            except (HTTPError, OSError) as error:
                raise unreachable(self._wanted.url, error) from None
            if not chunk:
                return
            fsutil.write_all(self._file, chunk)
            self._take(chunk)
            crashpoints.reach("image.received")
            if self._task is not None:
                self._task.advance(len(chunk))

    def _take(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.done += len(chunk)

    def _hash_what_is_there(self) -> None:
        while chunk := self._file.read(CHUNK):
            self._take(chunk)
        if self.done:
            self._progress.say(
                f"{fsutil.mib(self.done)} of {self._wanted.label} are there; going on from there"
            )


def _drop_if_empty(paths: ImagePaths) -> None:
    """Keep no trace of a download of which nothing came."""
    if paths.partial.is_file() and paths.partial.stat().st_size == 0:
        paths.partial.unlink()
        paths.partial_meta.unlink(missing_ok=True)


def _belongs(paths: ImagePaths, sha256: str) -> bool:
    """Whether there is a part of the very file that is wanted."""
    try:
        return (
            paths.partial.is_file() and fsutil.read_json(paths.partial_meta).get("sha256") == sha256
        )
    except (FileNotFoundError, VclawError):
        return False
