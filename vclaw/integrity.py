"""Whether images, runtime disks and claws are still what was verified when they were made.

Everything is asked of the files here: digests are computed anew, the signature of Ubuntu's list
of digests is checked again with the list as it was downloaded. No server is needed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from vclaw import disk, runtime
from vclaw.claws import installed
from vclaw.errors import VclawError
from vclaw.home import Home, ImagePaths, RuntimePaths
from vclaw.images import meta as metas
from vclaw.images import ubuntu, verify
from vclaw.images.meta import ImageMeta
from vclaw.paths import ClawPaths
from vclaw.progress import Progress
from vclaw.runtime import RuntimeManifest, recipe
from vclaw.runtime.manifest import lock_digest

CHUNK = 4 * 2**20
"""Bytes that are read and hashed at a time."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `found` says what is so, `problem` why it does not hold."""

    name: str
    found: str = ""
    problem: str = ""  # a sentence; "" where it holds
    hint: str = ""
    unrecorded: bool = False  # nothing is wrong, but an older vclaw kept nothing to go by


def content(path: Path, recorded: str, label: str, progress: Progress) -> str:
    """Why a file is not what its record says, "" where it is; reads all of it.

    `recorded` is `sha256:<hex>`, `label` what progress calls it.
    """
    digest = hashlib.sha256()
    try:
        with (
            path.open("rb", buffering=0) as file,
            progress.task(f"reading {label}", path.stat().st_size) as task,
        ):
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                task.advance(len(chunk))
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    found = f"sha256:{digest.hexdigest()}"
    return "" if found == recorded else f"{path} is damaged: its digest is {found}, not {recorded}."


def image(
    paths: ImagePaths, meta: ImageMeta, progress: Progress, env: Mapping[str, str] = os.environ
) -> Iterator[Check]:
    """Look at a cached image: every file's digest, and the signed list that named it.

    Raises UsageError where gpgv or the keyring is missing.
    """
    again = f"`vclaw image rm {meta.ref}` removes it, `vclaw image fetch {meta.ref}` brings it."
    files = [(paths.image, meta.digest)]
    if meta.boot == "kernel":
        files += [(paths.kernel, meta.kernel_digest), (paths.initrd, meta.initrd_digest)]
    for path, recorded in files:
        yield _file(f"image {meta.ref}: {path.name}", path, recorded, again, progress)
    name = f"image {meta.ref}: signature"
    if meta.distro != "ubuntu":
        why = "a local file has none" if meta.distro == "file" else "none, it was built here"
        yield Check(name, f"{why} ({meta.source})")
        return
    problem = _signature(paths, meta, env)
    found = "" if problem else f"SHA256SUMS is signed by {meta.signed_by}"
    kept = paths.sums.exists() or paths.signature.exists()
    yield Check(name, found, problem, again if problem else "", unrecorded=not kept)


def _file(name: str, path: Path, recorded: str, hint: str, progress: Progress) -> Check:
    if not recorded:
        problem = f"The digest of {path} was not recorded: an older vclaw made it."
        return Check(name, problem=problem, hint=hint, unrecorded=True)
    problem = content(path, recorded, name, progress)
    return Check(name, "" if problem else recorded, problem, hint if problem else "")


def _signature(paths: ImagePaths, meta: ImageMeta, env: Mapping[str, str]) -> str:
    """Why the signed list does not vouch for an image, "" where it does."""
    keys = ubuntu.keyring(env)
    try:
        data, signature = paths.sums.read_bytes(), paths.signature.read_bytes()
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}."
    try:
        signed_by = verify.signer(data, signature, keys, str(paths.sums))
    except verify.BadSignatureError as error:
        return error.message
    if signed_by != meta.signed_by:
        return f"{paths.sums} is signed by {signed_by}, and the image by {meta.signed_by}."
    file = PurePosixPath(urlsplit(meta.source).path).name
    named = ubuntu.SignedList(data, signature, signed_by).sha256(file)
    if f"sha256:{named}" != meta.digest:
        return f"{paths.sums} does not name {meta.digest} for {file}."
    return ""


def runtime_disk(
    paths: RuntimePaths, manifest: RuntimeManifest, progress: Progress
) -> Iterator[Check]:
    """Look at a runtime disk: its digest, and the npm lock that it was installed by."""
    again = f"Remove the folder {paths.root}: the next run builds it again."
    name = f"runtime {manifest.openclaw}"
    yield _file(f"{name}: {paths.disk.name}", paths.disk, manifest.digest, again, progress)
    lock = manifest.lock if manifest.lock is not None else recipe.shipped_lock()
    problem = lock_problem(lock, manifest)
    found = f"{len(lock['packages']) - 1} packages with digests, {manifest.lock_digest}"
    hint = again if problem else ""
    unrecorded = not manifest.lock_digest
    yield Check(f"{name}: npm lock", "" if problem else found, problem, hint, unrecorded)


def lock_problem(lock: Mapping[str, Any], manifest: RuntimeManifest) -> str:
    """Why this package-lock.json is not the one of a runtime, "" where it is; pure."""
    if not manifest.lock_digest:
        return "The npm lock was not recorded: an older vclaw built the runtime disk."
    if lock_digest(dict(lock)) != manifest.lock_digest:
        return f"The npm lock is not the one that the runtime was built by: {manifest.lock_digest}."
    packages = lock["packages"]
    version = packages.get("node_modules/openclaw", {}).get("version")
    if version != manifest.openclaw:
        return f"The npm lock is for OpenClaw {version}, not {manifest.openclaw}."
    for path, package in packages.items():
        # What is bundled came within the archive of the package that has it, digest and all.
        own = path and not package.get("link") and not package.get("inBundle")
        if own and not str(package.get("integrity", "")).startswith("sha512-"):
            return f"The npm lock has no digest for {path}."
    return ""


def claw(home: Home, paths: ClawPaths, progress: Progress) -> Iterator[Check]:
    """Look at a claw: where its disk comes from, its kernel, and the runtime it booted with.

    The disk itself is the guest's own and changes all the time: what can be checked is its
    origin. Raises VclawError where a record of the claw is damaged.
    """
    name = paths.root.name
    made = disk.load(paths.disk_meta)
    if made is None:
        problem = f"{name} has no disk yet."
        hint = f"`vclaw run --name {name}` makes it."
        yield Check(f"claw {name}: disk", problem=problem, hint=hint)
        return
    signed = f", signed by {made.signed_by}" if made.signed_by else ""
    yield Check(f"claw {name}: disk", f"made from {made.image} {made.digest}{signed}")
    hint = f"`vclaw rm {name}` removes the claw; make it anew from an image that holds."
    if made.boot == "kernel":
        digests = (made.kernel_digest, made.initrd_digest)
        for path, recorded in zip(disk.boot_files(paths, made), digests, strict=True):
            yield _file(f"claw {name}: {path.name}", path, recorded, hint, progress)
    yield from _origin(home, made, progress)
    yield from _installed(paths, progress)


def _origin(home: Home, made: disk.DiskMeta, progress: Progress) -> Iterator[Check]:
    """The image that a disk was made from, where it still is in the cache."""
    for path in sorted(home.images.glob("*/image.json")):
        meta = _readable(path)
        if meta is not None and meta.digest == made.digest:
            yield from image(ImagePaths(path.parent), meta, progress)
            return
    yield Check(f"image {made.image}", "is in the cache no more; the claw does not need it")


def _readable(path: Path) -> ImageMeta | None:
    try:
        return metas.load(path)
    except VclawError:
        return None  # which image it is cannot be known; `vclaw doctor` tells of it


def _installed(paths: ClawPaths, progress: Progress) -> Iterator[Check]:
    name = f"claw {paths.root.name}: runtime"
    known = installed.load(paths)
    if known is None:
        yield Check(name, "it was not booted yet")
        return
    found = f"OpenClaw {known.openclaw}, Node.js {known.node}, booted by vclaw {known.vclaw}"
    there = RuntimePaths(Path(known.runtime).parent)
    manifest = runtime.load(there.manifest)
    if manifest is None:
        yield Check(name, f"{found}; its disk is in the cache no more")
        return
    same = (manifest.digest, manifest.lock_digest) == (known.digest, known.lock_digest)
    problem = "" if same else f"{there.root} holds another runtime than the claw was booted with."
    hint = (
        "" if same else f"`vclaw stop {paths.root.name}` and `vclaw start` boot it with this one."
    )
    yield Check(name, found, problem, hint)
    yield from runtime_disk(there, manifest, progress)
