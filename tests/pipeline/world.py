"""A home with one claw whose stages are all real, but for the guest: see fake_qemu.py."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vclaw.tasks import pipeline

from vclaw import boot, engine, ports, runtime
from vclaw.claws import prepare, record
from vclaw.home import Home
from vclaw.model import OPEN, ClawSpec, ImageRef, host_arch
from vclaw.paths import ClawPaths
from vclaw.progress import Silent
from vclaw.runtime.manifest import RuntimeManifest, dump, lock_digest

REPOSITORY = Path(__file__).parents[2]

EMULATORS = ("qemu-system-x86_64", "qemu-system-aarch64")

STAGES = ("image", "runtime", "disk", "seed", "boot", "ready")


@dataclass
class Lines(Silent):
    """Keeps what was said."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class World:
    """`knobs` is fake_qemu.py's folder; `env` is what a command needs to live in this world."""

    home: Home
    spec: ClawSpec
    knobs: Path
    env: dict[str, str]

    @property
    def paths(self) -> ClawPaths:
        return self.home.claw(self.spec.name)

    @property
    def starts(self) -> int:
        """How many virtual machines were started."""
        log = self.knobs / "starts"
        return len(log.read_text().split()) if log.exists() else 0

    def turn(self, knob: str, on: bool = True) -> None:
        """Set one of fake_qemu.py's knobs."""
        (self.knobs / knob).touch() if on else (self.knobs / knob).unlink()

    def prepare(self, **env: str) -> None:
        """Write the claw's own files, as `vclaw run` does before its stages."""
        boot.make_folders(self.paths)
        prepare.write(self.home, self.paths, self.spec, env, "tcg", "")

    def run(self, goal: str = "ready", timeout: float = 20.0) -> list[str]:
        """Run a stage and what it needs; returns what was said."""
        progress = Lines()
        stages = pipeline(self.home, self.spec, progress, timeout)
        engine.run(stages, f"{goal}:{self.spec.name}", self.paths.doit_db, progress)
        return progress.said

    def build_runtime(self) -> None:
        """The stage that only a test's own process can do without npm, see small_runtime."""
        runtime.build(self.home, self.spec.openclaw_version, self.spec.image.arch, Silent())

    def kill(self) -> None:
        """End the virtual machine as a crash would."""
        process = boot.current(self.paths)
        assert process is not None
        process.end(patience=0.0)

    def effects(self) -> dict[str, object]:
        """What each stage has made: another value means that it was made anew.

        Whatever vclaw makes appears by a rename, so that a new file is another one.
        """
        image = self.home.image(self.spec.image)
        key = runtime.key(self.spec.openclaw_version, self.spec.image.arch)
        made: dict[str, Sequence[Path]] = {
            "image": (image.image, image.meta),
            "runtime": (self.home.runtime(key).disk, self.home.runtime(key).manifest),
            "disk": (self.paths.disk,),
            "seed": (self.paths.seed,),
            "ready": (self.paths.ready,),
        }
        return {"boot": self.starts, **{k: [identity(p) for p in v] for k, v in made.items()}}

    def doit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Plain doit over the checkout's dodo.py, from another folder."""
        return subprocess.run(
            [sys.executable, "-m", "doit", "-f", REPOSITORY / "dodo.py", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **self.env},
            cwd=self.home.data.parent,
            check=False,
        )

    def second_claw(self, name: str) -> World:
        """Another claw of the same image and runtime."""
        gateway = free_port()
        spec = replace(self.spec, name=name, gateway_port=gateway, ssh_port=gateway + 1)
        return replace(self, spec=spec)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from a later one of its name, None where there is none."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def changed(before: dict[str, object], after: dict[str, object]) -> set[str]:
    """The stages that made something in between."""
    return {stage for stage, made in before.items() if made != after[stage]}


def build(root: Path) -> World:
    """A world in the folder `root`, whose path must be short: sockets are made in it."""
    home = Home(root / "home", root / "home")
    home.data.mkdir(mode=0o700)
    workspace, knobs, programs = root / "project", root / "knobs", root / "bin"
    for folder in (workspace, knobs, programs):
        folder.mkdir()
    for name in EMULATORS:
        script = programs / name
        fake = Path(__file__).with_name("fake_qemu.py")
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {fake} "$@"\n')
        script.chmod(0o755)
    gateway = free_port()
    spec = ClawSpec(
        name="demo",
        image=small_image(root),
        openclaw_version=runtime.DEFAULT_VERSION,
        workspace=workspace,
        cpus=1,
        memory_mib=2048,
        disk_gib=1,
        gateway_port=gateway,
        ssh_port=gateway + 1,
        template=False,
        network=OPEN,  # the stand-in for QEMU lives outside of /usr
    )
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    env = {
        "VCLAW_HOME": str(home.data),
        "VCLAW_ACCEL": "tcg",
        "VCLAW_NETWORK": OPEN,
        "VCLAW_TEMPLATE": "no",  # its guest answers for no template
        "FAKE_QEMU_DIR": str(knobs),
        "PATH": path,
    }
    return World(home, spec, knobs, env)


def free_port() -> int:
    """A free port below those that the system gives to outgoing connections.

    One of those may be lent to some other program's connection before it is listened on.
    """
    return ports.next_free(random.randrange(20_000, 30_000), ())


def small_image(root: Path) -> ImageRef:
    """A raw image of 1 MiB with a boot sector."""
    path = root / "small.img"
    sector = b"boot".ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector + os.urandom(2**20 - 512))
    return ImageRef("file", hashlib.sha256(path.read_bytes()).hexdigest(), host_arch(), path=path)


def small_runtime(paths: object, version: str, arch: str, progress: object) -> RuntimeManifest:  # noqa: ARG001
    """In place of the minutes that npm takes: a disk of a few bytes and its true manifest."""
    from vclaw.home import RuntimePaths

    assert isinstance(paths, RuntimePaths)
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.disk.unlink(missing_ok=True)
    paths.disk.write_bytes(b"squashfs")
    digest = "sha256:" + hashlib.sha256(b"squashfs").hexdigest()
    lock: dict[str, Any] = {
        "packages": {"node_modules/openclaw": {"version": version, "integrity": "sha512-x"}}
    }
    made = RuntimeManifest(
        version, "24", arch, "0" * 64, digest, 8, "2026-01-31T12:00:00Z", lock, lock_digest(lock)
    )
    dump(paths.manifest, made)
    return made


def tear_down(world: World) -> None:
    """End every virtual machine of this world and delete it."""
    for name in record.names(world.home):
        process = boot.last(world.home.claw(name))
        if process is not None:
            process.end(patience=0.5)
    shutil.rmtree(world.home.data.parent)
