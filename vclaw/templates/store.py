"""The templates that are kept, and which claws lie over each: such a one cannot be removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vclaw import boot, crashpoints, disk, fsutil, layout, schema
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, TemplatePaths
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.paths import ClawPaths

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older template.json up to date; see `vclaw.schema`."""


@dataclass(frozen=True)
class TemplateMeta:
    """The content of template.json; the folder appears whole."""

    image: str  # as the user types it
    image_digest: str  # sha256:<hex>
    openclaw: str
    runtime: str  # sha256:<hex> of the runtime disk, of which the guest has parts in memory
    fingerprint: str  # of the machine and its hypervisor, as that tells it
    accelerator: str
    cpus: int
    memory_mib: int
    disk_gib: int
    seed_bytes: int  # size of the seed disk, which a claw's must have too
    made_at: str  # 2026-01-31T12:00:00Z


@dataclass(frozen=True)
class Entry:
    """One template of the cache; `meta` is None where it cannot be read."""

    paths: TemplatePaths
    meta: TemplateMeta | None
    users: tuple[Path, ...]  # folders of claws

    @property
    def key(self) -> str:
        """Its name."""
        return self.paths.root.name


def load(paths: TemplatePaths) -> TemplateMeta | None:
    """Read template.json; None where there is none, or where a file of it is missing.

    Raises VclawError where it is damaged or of a newer schema.
    """
    hint = f"`vclaw template rm {paths.root.name}` removes it; the next run makes it again."
    try:
        meta = schema.load(paths.meta, TemplateMeta, STEPS, hint)
    except FileNotFoundError:
        return None
    there = all(path.is_file() for path in _needed(paths))
    return meta if there else None


def _needed(paths: TemplatePaths) -> tuple[Path, ...]:
    return paths.memory, paths.device, paths.disk, paths.disk_meta


def is_whole(paths: TemplatePaths) -> bool:
    """Whether a template can be used."""
    return load(paths) is not None


def listing(home: Home) -> list[Entry]:
    """All templates by their keys."""
    return [_entry(home.template(key)) for key in keys(home)]


def keys(home: Home) -> list[str]:
    """The names of the templates there are, damaged ones too."""
    try:
        return sorted(
            path.name
            for path in home.templates.iterdir()
            if path.is_dir() and not path.name.startswith(".")
        )
    except FileNotFoundError:
        return []


def _entry(paths: TemplatePaths) -> Entry:
    try:
        meta = load(paths)
    except VclawError:
        meta = None
    return Entry(paths, meta, tuple(users(paths)))


def users(paths: TemplatePaths) -> list[Path]:
    """The folders of the claws whose disks lie over this template's, wherever they are kept."""
    return [folder for _, folder in _notes(paths) if _lies_over(ClawPaths(folder), paths)]


def _notes(paths: TemplatePaths) -> Iterator[tuple[Path, Path]]:
    """What `note_user` has written: its files, and the folder of a claw from each."""
    for note in sorted(paths.users.glob("*")) if paths.users.is_dir() else ():
        with contextlib.suppress(OSError):
            yield note, Path(os.fsdecode(note.read_bytes()))


def _stale_notes(paths: TemplatePaths) -> Iterator[Path]:
    """Those of claws that do not lie over it, or not any more; or not yet, unless it is locked."""
    return (note for note, folder in _notes(paths) if not _lies_over(ClawPaths(folder), paths))


def _lies_over(claw: ClawPaths, paths: TemplatePaths) -> bool:
    if _out_of_sight(claw.root):
        return True  # as far as anybody knows
    try:
        made = disk.load(claw.disk_meta)
    except (VclawError, OSError):  # another user's folder, for one
        return True  # it cannot be known
    if made is None or not made.base:
        return False
    # The cache may have several names, of which some are links.
    return Path(made.base).resolve() == paths.root.resolve()


def _out_of_sight(claw: Path) -> bool:
    """Whether the folder of all claws is gone: it may be on a disk that is not mounted now."""
    try:
        return not claw.parent.is_dir()
    except OSError:
        return False  # it is there, and not for this user


@contextlib.contextmanager
def steady(home: Home, key: str) -> Iterator[None]:
    """Hold a template still: meanwhile it is neither made nor removed."""
    fsutil.make_folder(home.locks)
    with locked(lock_of(home, key)):
        yield


def lock_of(home: Home, key: str) -> Path:
    """The lock that whoever makes or removes a template holds."""
    return home.locks / f"template-{key}"


def note_user(paths: TemplatePaths, claw: ClawPaths) -> None:
    """Write down that a claw is about to lie over this template, which `steady` holds."""
    fsutil.make_folder(paths.users)
    path = os.fsencode(claw.root)
    fsutil.write_if_changed(paths.users / hashlib.sha256(path).hexdigest()[:16], path)


def scratch_of(home: Home, key: str) -> ClawPaths:
    """The files of the guest that is to become a template, while it is made."""
    return ClawPaths(home.templates / f".{key}{layout.SCRATCH}")


def discard(claw: ClawPaths) -> None:
    """End a guest that was to become a template, and delete it; its maker's lock is held."""
    process = boot.current(claw)
    if process is not None:
        process.end(patience=0.0)
    if claw.root.is_dir():
        fsutil.remove_tree(claw.root)


def sweep(home: Home) -> None:
    """End and delete what killed makers left, and forget users that are none any more.

    What another process works on is left alone.
    """
    for key in keys(home):
        paths = home.template(key)
        if not any(_stale_notes(paths)):
            continue
        with contextlib.suppress(VclawError, OSError), locked(lock_of(home, key), wait=0.0):
            for note in _stale_notes(paths):
                note.unlink()
    for folder in home.templates.glob(scratch_of(home, "*").root.name):
        key = folder.name.removeprefix(".").removesuffix(layout.SCRATCH)
        with contextlib.suppress(VclawError, OSError), locked(lock_of(home, key), wait=0.0):
            discard(ClawPaths(folder))


def remove(home: Home, key: str, *, force: bool = False) -> None:
    """Delete a template; raises UsageError where there is none, or where a claw lies over it.

    With `force` a claw that is out of sight does not count.
    """
    paths, failed = home.template(key), home.template_failure(key)
    if key not in (*keys(home), *_failures(home)):
        raise UsageError(f"There is no template {key}.", "`vclaw template ls` lists them.")
    fsutil.make_folder(home.locks)
    with locked(lock_of(home, key), BUSY_SECONDS):
        _refuse_used(paths, force=force)
        failed.unlink(missing_ok=True)
        delete(paths)


def _refuse_used(paths: TemplatePaths, *, force: bool) -> None:
    used = users(paths)
    unseen = [folder for folder in used if _out_of_sight(folder)]
    seen = [folder.name for folder in used if folder not in unseen]
    if seen:
        raise UsageError(
            f"The template {paths.root.name} is in use: the disk of {', '.join(sorted(seen))} "
            "lies over it.",
            "Remove those claws first (`vclaw rm`); their disks hold only what they changed.",
        )
    if unseen and not force:
        raise UsageError(
            f"The template {paths.root.name} may be in use: {unseen[0].parent} is not there now, "
            f"and the disk of {unseen[0].name} in it lay over it.",
            "Mount it, and remove that claw. Where it is gone for good, `vclaw template rm --force "
            f"{paths.root.name}` does without.",
        )


def forget_failures(home: Home) -> None:
    """Let all templates that could not be made be tried again."""
    for key in _failures(home):
        home.template_failure(key).unlink(missing_ok=True)


def _failures(home: Home) -> list[str]:
    """The names of those that could not be made."""
    notes = sorted(home.templates.glob(home.template_failure("*").name))
    return [note.name.removeprefix(".").removesuffix(".failed") for note in notes]


def delete(paths: TemplatePaths) -> None:
    """Remove the folder, its description first: from there on it is no template."""
    paths.meta.unlink(missing_ok=True)
    crashpoints.reach("template.unlisted")
    if paths.root.is_dir():
        fsutil.remove_tree(paths.root)
