"""`vclaw run` up to ready with a warm cache, against QEMU started by hand on the same disks."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.support.command import VCLAW
from vclaw import boot, fsutil, hypervisor, readiness
from vclaw.home import Home, ImagePaths
from vclaw.model import GATEWAY_GUEST_PORT
from vclaw.paths import ClawPaths

NAME = "bench"
ROUNDS = int(os.environ.get("BENCH_RUN_ROUNDS", "3"))
READY_SECONDS = 1800
IMAGE_REF = os.environ.get("INTEGRATION_IMAGE_REF") or "debian:12"
MORE_WORDS = shlex.split(os.environ.get("BENCH_RUN_ARGS", ""))
"""Flags of `vclaw run` that both benches of whole boots give it as well."""

EMPTY_CACHE = os.environ.get("BENCH_RUN_CACHE") == "empty"
"""Whether the bench `boot` begins each round without any image or runtime: minutes more."""


@dataclass(frozen=True)
class Place:
    """A folder with one claw of its own, and the cache that this machine has, or its own."""

    folder: Path
    home: Home
    port: int

    @classmethod
    def make(cls, folder: Path) -> Place:
        """Make it, with a free port for the gateway."""
        (folder / "workspace").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        cache = folder / "cache" if EMPTY_CACHE else Home.from_env().cache
        return cls(folder, Home(cache=cache, data=folder / "data"), port)

    @property
    def claw(self) -> ClawPaths:
        """The claw's files."""
        return self.home.claw(NAME)

    @property
    def env(self) -> dict[str, str]:
        """Where vclaw has them."""
        return {"VCLAW_CACHE_DIR": str(self.home.cache), "VCLAW_DATA_DIR": str(self.home.data)}

    def run(self, *more: str) -> float:
        """`vclaw run` in seconds."""
        words: list[str | Path] = [VCLAW, "run", IMAGE_REF, f"--name={NAME}", f"--port={self.port}"]
        words += [f"--workspace={self.folder / 'workspace'}", "--json", *MORE_WORDS]
        return seconds_of_command(
            [*words, f"--ready-timeout-secs={READY_SECONDS}", *more], self.env
        )

    def picture(self, name: str) -> None:
        """Keep where the claw's time went as .artifacts/timeline-NAME.svg."""
        svg = Path(f".artifacts/timeline-{name}.svg")
        svg.parent.mkdir(exist_ok=True)
        seconds_of_command([VCLAW, "timeline", NAME, "--svg", svg], self.env)

    def stop(self) -> None:
        """Power the claw off."""
        seconds_of_command([VCLAW, "stop", NAME], self.env)

    def begin(self) -> None:
        """Remove what an earlier round left, and the cache where it is to be empty."""
        self.remove()
        if EMPTY_CACHE:
            shutil.rmtree(self.home.cache, ignore_errors=True)

    def remove(self) -> None:
        """Remove the claw, where there is one, whatever state it is in."""
        words: list[str | Path] = [VCLAW, "rm", NAME, "--yes", "--force"]
        env = {**os.environ, **self.env}
        subprocess.run(words, env=env, capture_output=True, check=self.claw.root.exists())


def compare(folder: Path) -> Iterable[Result]:
    """Both start with a cached image and runtime, a guest that never booted, and no state.

    By hand nothing is made ready in the measured time: its disk is there, and QEMU's command line
    is the one that vclaw chose, without the wall. So the ratio holds all that vclaw adds.
    """
    place = Place.make(folder)

    def ours() -> float:
        place.remove()
        seconds = place.run("--no-template")
        place.picture("booted")
        place.stop()
        return seconds

    def theirs() -> float:
        as_new(place)
        return boot_by_hand(command, place).ready

    try:
        # Fills the cache, and makes the claw whose command line is taken over. Its port for SSH
        # may be another one each time, which nothing here uses.
        place.run("--no-wait", "--no-template")
        command = by_hand(place)
        place.stop()
        what = f"run {IMAGE_REF} to ready"
        yield in_turns(what, "QEMU by hand", 1.1, ours, theirs, rounds=ROUNDS, warm_up=False)
    finally:
        place.remove()


def by_hand(place: Place) -> list[str]:
    """QEMU's own command line for this claw, with the gateway's port forwarded by its words."""
    machine = boot.machine(place.claw)
    words = hypervisor.current().argv(machine, boot.root_disk(place.claw, machine), place.claw)
    at = words.index("-netdev") + 1
    words[at] += f",hostfwd=tcp:127.0.0.1:{place.port}-:{GATEWAY_GUEST_PORT}"
    return words


def as_new(place: Place) -> float:
    """Give the claw a disk that no guest has used, and an empty state folder.

    Returns how long `cp` took for the disk.
    """
    claw = place.claw
    made = fsutil.read_json(claw.disk_meta)
    image = _cached_image(place.home, made["digest"])
    claw.disk.unlink()
    seconds = seconds_of_command(["cp", "--sparse=always", image.image, claw.disk])
    size = str(made["virtual_size"])
    grow: list[str | Path] = ["qemu-img", "resize", "-q", "-f", made["format"], claw.disk, size]
    subprocess.run(grow, check=True)
    for entry in claw.state.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for entry in claw.sockets.iterdir():
        entry.unlink()
    return seconds


def _cached_image(home: Home, digest: str) -> ImagePaths:
    for folder in home.images.iterdir():
        paths = ImagePaths(folder)
        if paths.meta.exists() and fsutil.read_json(paths.meta)["digest"] == digest:
            return paths
    raise FileNotFoundError(f"no cached image with digest {digest}")


@dataclass(frozen=True)
class ByHand:
    """When a QEMU by hand got where, in seconds since its start."""

    mounted: float  # the guest had applied its settings, and mounted the workspace
    ready: float  # the gateway's first yes


def boot_by_hand(command: list[str], place: Place) -> ByHand:
    """Start QEMU, wait until its gateway is ready, and end it."""
    start = time.perf_counter()
    mounted = 0.0
    qemu: subprocess.Popen[Any]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as qemu:
        try:
            while not mounted or not _ready(place.port):
                now = time.perf_counter() - start
                if qemu.poll() is not None or now > READY_SECONDS:
                    output = qemu.communicate()[1] if qemu.poll() is not None else b"not ready"
                    raise subprocess.CalledProcessError(qemu.returncode or 1, command, None, output)
                if not mounted and mounted_in(place.claw):
                    mounted = time.perf_counter() - start
                time.sleep(0.2)
            return ByHand(mounted, time.perf_counter() - start)
        finally:
            qemu.kill()


def mounted_in(claw: ClawPaths) -> bool:
    """Whether the guest has applied its settings and mounted the workspace."""
    report = readiness.guest_report(claw)
    return report is not None and bool(report.get("applied")) and bool(report.get("mounts"))


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
