"""`vclaw run` up to ready with a warm cache, against QEMU started by hand on the same disks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.support.command import VCLAW
from vclaw import boot, fsutil, hypervisor
from vclaw.model import GATEWAY_GUEST_PORT
from vclaw.paths import ClawPaths, Home, ImagePaths

NAME = "bench"
ROUNDS = int(os.environ.get("BENCH_RUN_ROUNDS", "1"))
READY_SECONDS = 1800
IMAGE_REF = os.environ.get("INTEGRATION_IMAGE_REF") or "debian:12"


def compare(folder: Path) -> Iterable[Result]:
    """Both start with a cached image and runtime, a guest that never booted, and no state.

    By hand nothing is made ready in the measured time: its disk is there, and QEMU's command line
    is the one that vclaw chose, without the wall. So the ratio holds all that vclaw adds.
    """
    home = Home(cache=Home.from_env().cache, data=folder / "data")
    env = {"VCLAW_CACHE_DIR": str(home.cache), "VCLAW_DATA_DIR": str(home.data)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    workspace = folder / "workspace"
    workspace.mkdir()
    run: list[str | Path] = [VCLAW, "run", IMAGE_REF, f"--name={NAME}", f"--port={port}"]
    run += [f"--workspace={workspace}", f"--ready-timeout-secs={READY_SECONDS}"]
    remove: list[str | Path] = [VCLAW, "rm", NAME, "--yes", "--force"]
    claw = home.claw(NAME)

    def ours() -> float:
        if claw.root.exists():
            seconds_of_command(remove, env)
        seconds = seconds_of_command([*run, "--json"], env)
        seconds_of_command([VCLAW, "stop", NAME], env)
        return seconds

    def theirs() -> float:
        _as_new(claw, home)
        return _boot_by_hand(command, port)

    try:
        # Fills the cache, and makes the claw whose command line is taken over. Its port for SSH
        # may be another one each time, which nothing here uses.
        seconds_of_command([*run, "--no-wait"], env)
        command = _by_hand(claw, port)
        seconds_of_command([VCLAW, "stop", NAME], env)
        what = f"run {IMAGE_REF} to ready"
        yield in_turns(what, "QEMU by hand", 1.1, ours, theirs, rounds=ROUNDS, warm_up=False)
    finally:
        subprocess.run(remove, env={**os.environ, **env}, capture_output=True, check=False)


def _by_hand(claw: ClawPaths, port: int) -> list[str]:
    """QEMU's own command line for this claw, with the gateway's port forwarded by its words."""
    machine = boot.machine(claw)
    words = hypervisor.current().argv(machine, boot.root_disk(claw, machine), claw)
    place = words.index("-netdev") + 1
    words[place] += f",hostfwd=tcp:127.0.0.1:{port}-:{GATEWAY_GUEST_PORT}"
    return words


def _as_new(claw: ClawPaths, home: Home) -> None:
    """Give the claw a disk that no guest has used, and an empty state folder."""
    made = fsutil.read_json(claw.disk_meta)
    image = _cached_image(home, made["digest"])
    claw.disk.unlink()
    words: list[str | Path] = ["cp", "--sparse=always", image.image, claw.disk]
    subprocess.run(words, check=True)
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


def _cached_image(home: Home, digest: str) -> ImagePaths:
    for folder in home.images.iterdir():
        paths = ImagePaths(folder)
        if paths.meta.exists() and fsutil.read_json(paths.meta)["digest"] == digest:
            return paths
    raise FileNotFoundError(f"no cached image with digest {digest}")


def _boot_by_hand(command: list[str], port: int) -> float:
    """Seconds from QEMU's start to the gateway's first yes."""
    start = time.perf_counter()
    qemu: subprocess.Popen[Any]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as qemu:
        try:
            while not _ready(port):
                if qemu.poll() is not None or time.perf_counter() - start > READY_SECONDS:
                    output = qemu.communicate()[1] if qemu.poll() is not None else b"not ready"
                    raise subprocess.CalledProcessError(qemu.returncode or 1, command, None, output)
                time.sleep(0.2)
            return time.perf_counter() - start
        finally:
            qemu.kill()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
