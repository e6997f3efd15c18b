"""Frees the cache of what no claw uses: images, runtime disks, templates, and rests of work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vclaw import boot, crashpoints, disk, fsutil, layout, runtime
from vclaw.claws import record
from vclaw.errors import VclawError
from vclaw.home import Home, ImagePaths
from vclaw.images import store
from vclaw.lock import locked
from vclaw.paths import ClawPaths
from vclaw.templates import store as templates

DESCRIPTIONS = {"image": "image.json", "runtime": "manifest.json", "template": "template.json"}
"""Kind -> the file that makes a folder one of the cache."""


@dataclass(frozen=True)
class Uses:
    """What the present claws need of the cache; `unknown` are claws that cannot be read."""

    images: frozenset[str] = frozenset()  # keys, of claws that have no disk of their own yet
    runtimes: frozenset[str] = frozenset()  # keys
    templates: frozenset[str] = frozenset()  # keys
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """One image, runtime or template as it lies in the cache; paths in the order of removal."""

    kind: str  # image | runtime | template
    key: str
    name: str  # as the user knows it
    whole: bool  # complete; else all of it is a rest of interrupted work
    paths: tuple[Path, ...]  # everything of it
    rests: tuple[Path, ...]  # what interrupted work left in it or beside it


@dataclass(frozen=True)
class Item:
    """Something that no claw needs; `kept` says why it stays all the same, "" where it goes."""

    kind: str  # image | runtime | template | partial
    name: str
    paths: tuple[Path, ...]
    bytes: int  # on the disk
    kept: str = ""


def choose(found: Sequence[Found], uses: Uses) -> list[tuple[Found, str, tuple[Path, ...]]]:
    """What can go, as (found, kind, paths): all of what nobody uses, else its rests; pure.

    While a claw cannot be read nobody knows what it uses, and nothing that is whole goes.
    """
    chosen = []
    in_use = {"image": uses.images, "runtime": uses.runtimes, "template": uses.templates}
    for item in found:
        used = item.key in in_use[item.kind]
        if not used and not (item.whole and uses.unknown):
            chosen.append((item, item.kind if item.whole else "partial", item.paths))
        elif item.whole and item.rests:
            # Where it is not whole, the rest is a download that its claw will go on with.
            chosen.append((item, "partial", item.rests))
    return chosen


def prune(home: Home, *, dry_run: bool) -> tuple[list[Item], Uses]:
    """Remove what can go; returns what went, or was kept since a process works on it.

    With `dry_run` nothing is removed. What is used is asked again under each one's lock.
    """
    uses = uses_of(home)
    items = []
    for found, kind, paths in choose(look(home), uses):
        size = sum(disk_bytes(path) for path in paths)
        kept = _busy(home, found) if dry_run else _remove(home, found)
        items.append(Item(kind, found.name, paths, size, kept))
    if not dry_run:
        templates.forget_failures(home)  # a full disk may have been the reason
    return items, uses


def uses_of(home: Home) -> Uses:
    """Ask every claw what it needs."""
    images, runtimes, unknown = set(), set(), []
    # A template knows its claws itself, those of other data folders too.
    laid_over = frozenset(entry.key for entry in templates.listing(home) if entry.users)
    for name in record.names(home):
        paths = home.claw(name)
        runtimes |= _runtimes_on_record(home, paths)
        try:
            spec = record.load(paths)
            has_disk = disk.is_whole(paths)
        except VclawError:
            unknown.append(name)
            continue
        runtimes.add(runtime.key(spec.openclaw_version, spec.image.arch))
        if not has_disk:
            images.add(spec.image.key)
    return Uses(frozenset(images), frozenset(runtimes), laid_over, tuple(unknown))


def _runtimes_on_record(home: Home, paths: ClawPaths) -> set[str]:
    """The runtime disks that machine.json and the running process name.

    They may be older than the one that claw.json leads to, after vclaw was updated.
    """
    words: list[str] = []
    with contextlib.suppress(OSError, VclawError):
        words.append(str(fsutil.read_json(paths.machine).get("runtime", "")))
    process = boot.current(paths) or boot.unrecorded(paths)
    if process is not None:
        words += [part.removeprefix("file=") for word in process.argv for part in word.split(",")]
    folders = (Path(word).parent for word in words)
    return {folder.name for folder in folders if folder.parent == home.runtimes}


def look(home: Home) -> list[Found]:
    """All that the cache holds."""
    return [
        *_images(home),
        *_built("runtime", home.runtimes),
        *_built("template", home.templates),
    ]


def _images(home: Home) -> Iterator[Found]:
    whole = {entry.key: entry.meta for entry in store.listing(home)}
    for folder in _folders(home.images):
        paths = ImagePaths(folder)
        meta = whole.get(folder.name)
        rests = [paths.partial, paths.partial_meta, paths.build, paths.refresh]
        rests += sorted(folder.glob(".*.tmp"))
        there = tuple(path for path in rests if path.exists())
        name = meta.ref if meta is not None else folder.name
        yield Found("image", folder.name, name, meta is not None, (folder,), there)


def _built(kind: str, parent: Path) -> Iterator[Found]:
    """Runtimes or templates: a folder each, and a hidden one beside it while it is built."""
    scratches = {
        folder.name.removeprefix(".").removesuffix(layout.SCRATCH): folder
        for folder in _folders(parent)
        if folder.name.startswith(".") and folder.name.endswith(layout.SCRATCH)
    }
    folders = {f.name: f for f in _folders(parent) if not f.name.startswith(".")}
    for key in sorted({*scratches, *folders}):
        rests = (scratches[key],) if key in scratches else ()
        own = (folders[key],) if key in folders else ()
        whole = key in folders and (folders[key] / DESCRIPTIONS[kind]).is_file()
        yield Found(kind, key, key, whole, (*own, *rests), rests)


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _lock(home: Home, found: Found) -> Path:
    """The lock that whoever makes it holds; see `images.store` and `runtime.builder`."""
    if found.kind == "template":
        return templates.lock_of(home, found.key)
    name = f"image-{found.key}" if found.kind == "image" else f"{found.key}.lock"
    return home.locks / name


def _busy(home: Home, found: Found) -> str:
    lock = _lock(home, found)
    if not lock.exists():
        return ""
    try:
        with locked(lock, wait=0):
            return ""
    except VclawError:
        return "a process works on it"


def _remove(home: Home, found: Found) -> str:
    """Remove it under its lock, where it still can go; returns why it stays, "" where it went."""
    fsutil.make_folder(home.locks)
    try:
        with locked(_lock(home, found), wait=0):
            now = [item for item in look(home) if (item.kind, item.key) == (found.kind, found.key)]
            for _, _, paths in choose(now, uses_of(home)):
                for path in paths:
                    _delete(found, path)
                return ""
            return "a claw uses it by now"
    except VclawError:
        return "a process works on it"


def _delete(found: Found, path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if found.kind == "template" and path in found.rests:
        templates.discard(ClawPaths(path))
        return
    # Its description goes first: from there on it is not in the cache, whatever comes between.
    if path in found.paths:
        (path / DESCRIPTIONS[found.kind]).unlink(missing_ok=True)
    crashpoints.reach("prune.unlisted")
    fsutil.remove_tree(path)


def disk_bytes(path: Path) -> int:
    """Bytes that a file, or all in a folder, takes on the disk; holes are left out."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(Path(folder, name)).st_blocks * 512
    if path.is_file():
        total += path.stat().st_blocks * 512
    return total
