"""`vclaw ps` of an installed wheel, with ten stopped claws, against a bare interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.support.wheel import installed
from vclaw.claws import record
from vclaw.model import ClawSpec, ImageRef, host_arch
from vclaw.paths import Home

CLAWS = 10


def compare(folder: Path) -> Iterable[Result]:
    """Both are whole processes of the same interpreter in the same environment."""
    programs = installed(folder / "venv")
    command = [programs / "vclaw", "ps"]
    home = Home(cache=folder / "home", data=folder / "home")
    for number in range(CLAWS):
        _stopped_claw(home, f"claw-{number}", folder, 20000 + 2 * number)
    env = {"VCLAW_HOME": str(home.data), "VCLAW_CACHE_DIR": "", "VCLAW_DATA_DIR": ""}
    _check(command, env)

    def ours() -> float:
        return seconds_of_command(command, env)

    def theirs() -> float:
        return seconds_of_command([programs / "python", "-c", "pass"])

    yield in_turns("ps, ten stopped (wheel)", "python3 -c pass", 2.5, ours, theirs, rounds=31)


def _stopped_claw(home: Home, name: str, workspace: Path, port: int) -> None:
    spec = ClawSpec(
        name=name,
        image=ImageRef("debian", "12", host_arch()),
        openclaw_version="2026.9.6",
        workspace=workspace,
        cpus=2,
        memory_mib=4096,
        disk_gib=20,
        gateway_port=port,
        ssh_port=port + 1,
    )
    paths = home.claw(name)
    paths.root.mkdir(parents=True)
    record.save(paths, spec)


def _check(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """The claws must be stopped ones for `ps`, or something else would be measured."""
    done = subprocess.run(
        [*command, "--json"], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    if [claw["status"] for claw in json.loads(done.stdout)] != ["stopped"] * CLAWS:
        raise subprocess.CalledProcessError(0, "vclaw ps", stderr=done.stdout)
