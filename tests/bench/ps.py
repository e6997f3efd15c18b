"""`vclaw ps` of an installed wheel: against a bare interpreter, and with many claws against one."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.support.wheel import installed
from vclaw import fsutil
from vclaw.claws import record
from vclaw.home import Home
from vclaw.hypervisor.process import Process, boot_id
from vclaw.model import ClawSpec, ImageRef, host_arch

FEW = 10

MANY = (100, 1000)

BUSY = 5.0
"""How many times longer than with one claw a listing of a thousand may take."""


def compare(folder: Path) -> Iterable[Result]:
    """Whole processes of the same interpreter in the same environment."""
    programs = installed(folder / "venv")

    def listing(claws: int, *, ended: int = 0) -> Callable[[], float]:
        data = folder / f"home-{claws}-{ended}"
        env = _claws(data, folder, claws, ended)
        command: list[str | Path] = [programs / "vclaw", "ps"]
        _check(command, env, claws, ended)
        return lambda: seconds_of_command(command, env)

    def bare() -> float:
        return seconds_of_command([programs / "python", "-c", "pass"])

    few = f"ps, {FEW} stopped (wheel)"
    yield in_turns(few, "python3 -c pass", 2.5, listing(FEW), bare, rounds=31)
    one = listing(1)
    for many in MANY:
        yield in_turns(f"ps, {many} stopped", "ps, 1 stopped", BUSY, listing(many), one, rounds=15)
    # One that is no stopped one takes what a listing of stopped ones does without.
    most = MANY[-1]
    mixed, alone = listing(most, ended=1), listing(1, ended=1)
    yield in_turns(f"ps, {most}, 1 ended", "ps, 1 ended", BUSY, mixed, alone, rounds=15)


def _claws(data: Path, workspace: Path, claws: int, ended: int) -> dict[str, str]:
    """Make that many claws in the folder `data`; the environment for it."""
    home = Home(cache=data, data=data)
    for number in range(claws):
        _stopped_claw(home, f"claw-{number}", workspace, 20000 + 2 * number)
    for number in range(ended):
        process = Process(os.getpid(), f"{boot_id()}:0", ("qemu",))  # of this boot, and gone
        fsutil.write_json(home.claw(f"claw-{number}").run, process.to_json())
    return {"VCLAW_HOME": str(data), "VCLAW_CACHE_DIR": "", "VCLAW_DATA_DIR": ""}


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


def _check(command: Sequence[str | Path], env: Mapping[str, str], claws: int, ended: int) -> None:
    """The claws must be such for `ps`, or something else would be measured."""
    done = subprocess.run(
        [*command, "--json"], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    found = Counter(claw["status"] for claw in json.loads(done.stdout))
    if found != Counter(stopped=claws - ended, exited=ended):
        raise subprocess.CalledProcessError(0, "vclaw ps", stderr=done.stdout)
