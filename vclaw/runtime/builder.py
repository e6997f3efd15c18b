"""Builds the read-only runtime disk: node, npm and OpenClaw in one squashfs, cached for good."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vclaw import fsutil, layout, proc, schema
from vclaw.errors import VclawError
from vclaw.home import Home, RuntimePaths
from vclaw.lock import locked
from vclaw.progress import Progress
from vclaw.runtime import compile_cache, npm, recipe, versions
from vclaw.runtime import manifest as manifests
from vclaw.runtime.manifest import RuntimeManifest

SPACE = 1200 * 2**20
"""Bytes that a build needs while it runs: node_modules before pruning, node, and the disk."""

TIMEOUT = 1800.0
"""Seconds for mksquashfs, which takes some ten."""


def build(home: Home, version: str, arch: str, progress: Progress) -> RuntimeManifest:
    """The runtime disk of `version` (a full number) for a guest of `arch` (amd64 or arm64).

    Returns at once where it is there. Raises UsageError for a release that does not exist, a
    missing mksquashfs or too little space, VclawError where npm or pip fails; nothing half made
    stays behind.
    """
    key = recipe.key(version, arch)
    paths = home.runtime(key)
    ready = _ready(paths)
    if ready is not None:
        return ready
    fsutil.make_folder(home.runtimes)
    fsutil.make_folder(home.locks)

    def on_wait(holder: str) -> None:
        progress.say(f"waiting for {holder}, which builds the OpenClaw runtime {version}")

    with locked(home.locks / f"{key}.lock", on_wait=on_wait):
        try:
            return _ready(paths) or _build(paths, version, arch, progress)
        except OSError as error:
            raise VclawError(
                f"The OpenClaw runtime could not be built: {error}.",
                f"Look after {home.runtimes} and try again.",
            ) from None


def _ready(paths: RuntimePaths) -> RuntimeManifest | None:
    """The manifest of a disk that is whole; a damaged one is built again, for it is a cache."""
    try:
        manifest = manifests.load(paths.manifest)
        if manifest is not None and paths.disk.stat().st_size == manifest.size:
            return manifest
    except schema.NewerError:
        raise  # whole, and a newer vclaw's claws may run from it
    except (VclawError, FileNotFoundError):
        pass
    return None


def _build(paths: RuntimePaths, version: str, arch: str, progress: Progress) -> RuntimeManifest:
    mksquashfs = proc.need("mksquashfs", "building the OpenClaw runtime disk")
    with _scratch(paths) as scratch:
        fsutil.require_space(scratch, SPACE, "Building the OpenClaw runtime")
        tree = scratch / "tree"
        made = RuntimePaths(scratch / "made")
        made.root.mkdir()
        progress.say(f"installing OpenClaw {version} and Node.js {recipe.NODE_VERSION}")
        lock = install(tree, version, arch)
        npm.unpack_node(arch, tree, scratch / "download")
        prune(tree, arch)
        finish(tree, version, arch)
        progress.say("compiling the gateway's code")
        compile_cache.fill(tree, scratch, version, arch, progress)
        list_warm(tree)
        progress.say("packing the runtime disk")
        squash(mksquashfs, tree, made.disk)
        manifest = _describe(made.disk, version, arch, lock)
        manifests.dump(made.manifest, manifest)
        # The folder appears whole: what was here before is no runtime, see _ready.
        shutil.rmtree(paths.root, ignore_errors=True)
        made.root.replace(paths.root)
        fsutil.sync_folder(paths.root.parent)
    progress.say(f"built the runtime disk: {fsutil.mib(manifest.size)}, kept for the next runs")
    return manifest


@contextlib.contextmanager
def _scratch(paths: RuntimePaths) -> Iterator[Path]:
    """A folder beside the target; one that a killed build left is emptied first."""
    scratch = paths.root.with_name(f".{paths.root.name}{layout.SCRATCH}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def install(tree: Path, version: str, arch: str) -> dict[str, Any]:
    """Install OpenClaw into `tree`; returns the package-lock.json that npm went by."""
    app = tree / recipe.APP
    app.mkdir(parents=True)
    options = recipe.npm_options(arch)
    if version == recipe.DEFAULT_VERSION:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(recipe.SHIPPED / name, app / name)
    else:
        (app / "package.json").write_bytes(recipe.package_json(version))
        _resolve_lock(app, version, options)
    npm.npm(["ci", *options], app)
    lock: dict[str, Any] = json.loads((app / "package-lock.json").read_bytes())
    missing = [path for path in recipe.expected(lock, arch) if not (app / path).is_dir()]
    if missing:
        # npm takes a failed download of an optional dependency for its absence.
        raise VclawError(
            f"npm did not install {missing[0]}, and OpenClaw needs it in the guest.",
            "Check the connection to the npm registry and try again.",
        )
    return lock


def _resolve_lock(app: Path, version: str, options: list[str]) -> None:
    try:
        npm.npm(["install", "--package-lock-only", *options], app)
    except VclawError as error:
        raise versions.unknown_version(version) if versions.unknown(error) else error from None


def prune(tree: Path, arch: str) -> None:
    """Remove what the guest does not need, and give all files the modes of an installed package."""
    for folder, _, names in os.walk(tree, topdown=False):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                continue
            if not recipe.keep(path.relative_to(tree).as_posix(), arch):
                path.unlink()
            else:
                # A strict umask here must not hide files from the guest's users.
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        if folder != str(tree):
            with contextlib.suppress(OSError):  # not empty
                Path(folder).rmdir()
                continue
        Path(folder).chmod(0o755)


def finish(tree: Path, version: str, arch: str) -> None:
    """Add the programs of bin/ and manifest.json (what this is).

    Raises VclawError where the tree holds no OpenClaw that can be started and looked at.
    """
    for name in recipe.PROGRAMS:
        path = tree / "bin" / name
        path.write_bytes(recipe.program(name))
        path.chmod(0o755)
    about = {"openclaw": version, "node": recipe.NODE_VERSION, "arch": arch}
    fsutil.write_json(tree / "manifest.json", about)
    for needed in (recipe.ENTRY, recipe.CONTROL_UI):
        if not (tree / needed).is_file():
            raise VclawError(
                f"OpenClaw {version} has no {needed}, which vclaw counts on.",
                f"Choose another version; {recipe.DEFAULT_VERSION} is tested.",
            )


def list_warm(tree: Path) -> None:
    """Add the list of files to warm, which names only files that are there by now."""
    files = (path for path in tree.rglob("*") if path.is_file())
    warm = recipe.warm_list(path.relative_to(tree).as_posix() for path in files)
    (tree / recipe.WARM_LIST).write_text("".join(f"{path}\n" for path in warm))
    (tree / recipe.WARM_LIST).chmod(0o644)


def squash(mksquashfs: Path, tree: Path, disk: Path) -> None:
    """Pack `tree` into a squashfs whose bytes depend on the tree's content alone."""
    # mksquashfs refuses this variable together with -all-time and -mkfs-time.
    env = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    argv = [str(mksquashfs), str(tree), str(disk), *recipe.squashfs_options()]
    proc.run(argv, env=env, timeout=TIMEOUT)
    with disk.open("rb") as file:
        os.fsync(file.fileno())


def _describe(disk: Path, version: str, arch: str, lock: dict[str, Any]) -> RuntimeManifest:
    with disk.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return RuntimeManifest(
        openclaw=version,
        node=recipe.NODE_VERSION,
        arch=arch,
        recipe=recipe.digest(version, arch),
        digest=f"sha256:{digest}",
        size=disk.stat().st_size,
        built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        lock=None if version == recipe.DEFAULT_VERSION else lock,
        lock_digest=manifests.lock_digest(lock),
    )
