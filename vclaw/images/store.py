"""The cache of images: fetch into it, look at it, remove from it."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vclaw import crashpoints, fsutil, lock, schema
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, ImagePaths
from vclaw.images import debian, digests, formats, local, ubuntu
from vclaw.images import meta as metas
from vclaw.images.http import Client
from vclaw.images.meta import ImageMeta
from vclaw.model import ImageRef
from vclaw.progress import Progress


@dataclass(frozen=True)
class Made:
    """What a source knows about the image.img that it just put in place."""

    digest: str  # sha256 in hex
    source: str
    signed_by: str = ""


@dataclass(frozen=True)
class Entry:
    """One folder of the cache, as it is found."""

    key: str
    meta: ImageMeta | None
    problem: str = ""  # why meta is None
    disk_bytes: int = 0  # what image.img takes on the disk, holes left out


def load(home: Home, ref: ImageRef) -> ImageMeta | None:
    """What is known of a cached image; None where it is not cached.

    Raises VclawError where image.json is damaged.
    """
    return _load(home.image(ref))


def fetch(
    home: Home, ref: ImageRef, progress: Progress, env: Mapping[str, str] = os.environ
) -> ImageMeta:
    """Download, build or copy an image into the cache, unless it is there.

    Of several processes that ask for the same image one does the work, and the others wait for
    it. Raises UsageError before anything is made where the host cannot do it, VclawError where
    the work fails.
    """
    paths = home.image(ref)
    if found := _usable(paths, progress):
        return _cached(ref, found, progress)
    tools = _check(ref, env)
    with _fetching(home, ref, progress):
        if found := _usable(paths):
            return _cached(ref, found, progress)
        try:
            fsutil.make_folder(paths.root)
            for stale in (paths.meta, paths.image, paths.sums, paths.signature):
                stale.unlink(missing_ok=True)
            crashpoints.reach("image.begun")
            return _finish(ref, paths, _make(ref, paths, tools, progress, env))
        finally:
            with contextlib.suppress(OSError):
                paths.root.rmdir()  # where nothing was kept in it


def refresh(
    home: Home, ref: ImageRef, progress: Progress, env: Mapping[str, str] = os.environ
) -> ImageMeta:
    """`fetch`, but a cached image gives way to a newer one of the same ref, where there is one.

    A release that moves is replaced where the server's signed list names another digest; a
    Debian image is built anew; a dated one and a local file are what they are. The cached image
    stays until the new one is complete and verified. Raises what `fetch` raises.
    """
    if ref.path is not None or ref.serial:
        return fetch(home, ref, progress, env)
    tools = _check(ref, env)
    paths = home.image(ref)
    with _fetching(home, ref, progress):
        present = _usable(paths)
        if present is None:
            return fetch(home, ref, progress, env)
        if tools is None:
            sha256 = ubuntu.newest(ref, Client(progress.say), env)
            if present.digest == f"sha256:{sha256}":
                progress.say(f"{ref.name} is up to date: the server's signed list names it")
                return present
            progress.say(f"there is a newer {ref.name}")
        fresh = ImagePaths(paths.refresh)
        fsutil.make_folder(fresh.root)
        try:
            meta = _finish(ref, fresh, _make(ref, fresh, tools, progress, env))
            with steady(home, ref.key):
                _put_in_place(fresh, paths)
        finally:
            with contextlib.suppress(OSError):
                fresh.root.rmdir()  # where nothing was kept in it
    return meta


@contextlib.contextmanager
def steady(home: Home, key: str) -> Iterator[None]:
    """While this is held nobody replaces or removes the image: its files belong together.

    A lock of its own, since the other one is held for as long as a download takes.
    """
    fsutil.make_folder(home.locks)
    with lock.locked(home.locks / f"image-{key}.steady"):
        yield


def _put_in_place(fresh: ImagePaths, paths: ImagePaths) -> None:
    """Replace a cached image; in between it is not cached, and the next fetch goes on with it."""
    paths.meta.unlink(missing_ok=True)
    fsutil.sync_folder(paths.root)
    crashpoints.reach("image.unlisted")
    for new, old in (
        (fresh.kernel, paths.kernel),
        (fresh.initrd, paths.initrd),
        (fresh.sums, paths.sums),
        (fresh.signature, paths.signature),
        (fresh.image, paths.image),
        (fresh.meta, paths.meta),
    ):
        if new.exists():
            new.replace(old)
    fsutil.sync_folder(paths.root)
    fsutil.remove_tree(fresh.root)


def _check(ref: ImageRef, env: Mapping[str, str]) -> debian.Tools | None:
    """What a build needs, None for a download; raises UsageError where the host is not fit."""
    if ref.distro == "ubuntu":
        ubuntu.check(env)
    return debian.check(ref) if ref.distro == "debian" else None


@contextlib.contextmanager
def _fetching(home: Home, ref: ImageRef, progress: Progress) -> Iterator[None]:
    """Hold the lock of an image, for whoever puts it in place."""
    fsutil.make_folder(home.images)
    fsutil.make_folder(home.locks)
    with lock.locked(
        home.locks / f"image-{ref.key}",
        on_wait=lambda holder: progress.say(f"waiting for {holder}, which fetches {ref.name}"),
    ):
        paths = home.image(ref)
        fsutil.sweep(paths.root)
        fresh = ImagePaths(paths.refresh)
        if fresh.meta.exists():  # complete, and its moving was cut short
            with steady(home, ref.key):
                _put_in_place(fresh, paths)
        yield


def listing(home: Home) -> list[Entry]:
    """Every folder of the cache that holds an image or a damaged image.json, by name."""
    entries = []
    folders = sorted(home.images.iterdir()) if home.images.is_dir() else []
    for folder in folders:
        paths = ImagePaths(folder)
        try:
            found = _load(paths)
        except VclawError as error:
            entries.append(Entry(folder.name, None, error.message, _disk_bytes(paths)))
            continue
        if found is not None:
            entries.append(Entry(folder.name, found, disk_bytes=_disk_bytes(paths)))
    return entries


def remove(home: Home, ref: ImageRef) -> None:
    """Remove an image and whatever is left of a download of it.

    Claws keep working, since each has a disk of its own. Raises UsageError where nothing of it
    is cached, VclawError where another process is fetching it.
    """
    paths = home.image(ref)
    if not paths.root.is_dir():
        raise UsageError(
            f"{ref.name} for {ref.arch} is not cached.", "`vclaw image ls` shows what is."
        )
    remove_key(home, ref.key)


def remove_key(home: Home, key: str) -> None:
    """`remove`, by the name of the image's folder in the cache."""
    paths = ImagePaths(home.images / key)
    fsutil.make_folder(home.locks)
    with lock.locked(home.locks / f"image-{key}", wait=0), steady(home, key):
        paths.meta.unlink(missing_ok=True)  # from here on it is not cached
        crashpoints.reach("image.unlisted")
        fsutil.remove_tree(paths.root)


def _make(
    ref: ImageRef,
    paths: ImagePaths,
    tools: debian.Tools | None,
    progress: Progress,
    env: Mapping[str, str],
) -> Made:
    """Put image.img in place, from wherever this kind of image comes."""
    if tools is not None:
        mirror = env.get("VCLAW_DEBIAN_MIRROR", "")
        debian.build(ref, paths, tools, progress, mirror)
        return Made(digests.sha256(paths.image), debian.inputs(ref, mirror))
    if ref.path is not None:
        local.copy(ref, paths, progress)
        return Made(ref.version, str(ref.path))
    fetched = ubuntu.fetch(ref, paths, Client(progress.say), progress, env)
    formats.inspect(paths.partial)  # before it becomes image.img
    # Kept so that the signature can be checked again without the server.
    fsutil.write_atomic(paths.sums, fetched.sums.data)
    fsutil.write_atomic(paths.signature, fetched.sums.signature)
    paths.partial.replace(paths.image)
    fsutil.sync_folder(paths.root)
    crashpoints.reach("image.placed")
    return Made(fetched.sha256, fetched.url, fetched.sums.signed_by)


def _finish(ref: ImageRef, paths: ImagePaths, made: Made) -> ImageMeta:
    direct = ref.distro == "debian"
    disk = formats.inspect(paths.image)
    now = datetime.datetime.now(datetime.UTC)
    meta = ImageMeta(
        ref=ref.name,
        distro=ref.distro,
        version=ref.version,
        arch=ref.arch,
        serial=ref.serial,
        digest=f"sha256:{made.digest}",
        source=made.source,
        signed_by=made.signed_by,
        format=disk.format,
        boot="kernel" if direct else "firmware",
        cmdline=debian.CMDLINE if direct else "",
        size=paths.image.stat().st_size,
        virtual_size=disk.virtual_size,
        fetched_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        kernel_digest=_digest(paths.kernel) if direct else "",
        initrd_digest=_digest(paths.initrd) if direct else "",
    )
    metas.dump(paths.meta, meta)
    return meta


def _digest(path: Path) -> str:
    return f"sha256:{digests.sha256(path)}"


def _load(paths: ImagePaths) -> ImageMeta | None:
    """image.json, checked against the files it speaks of: their size, never their content."""
    meta = metas.load(paths.meta)
    if meta is None:
        return None
    needed = [paths.image] + ([paths.kernel, paths.initrd] if meta.boot == "kernel" else [])
    missing = [path.name for path in needed if not path.is_file()]
    hint = f"Fetch it again: vclaw image fetch {meta.ref}."
    if missing:
        raise VclawError(f"{paths.root} is damaged: {' and '.join(missing)} missing.", hint)
    if paths.image.stat().st_size != meta.size:
        raise VclawError(f"{paths.image} is damaged: its size is not {meta.size} bytes.", hint)
    return meta


def _usable(paths: ImagePaths, progress: Progress | None = None) -> ImageMeta | None:
    """The cached image, or None where it must be fetched; says why a damaged one must."""
    try:
        return _load(paths)
    except schema.NewerError:
        raise  # whole, and a newer vclaw's claws may be made from it
    except VclawError as error:
        if progress is not None:
            progress.say(f"{error.message} Fetching it again.")
        return None


def _cached(ref: ImageRef, meta: ImageMeta, progress: Progress) -> ImageMeta:
    progress.say(f"using cached image {ref.name}")
    return meta


def _disk_bytes(paths: ImagePaths) -> int:
    files: list[Path] = [paths.image, paths.kernel, paths.initrd]
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())
