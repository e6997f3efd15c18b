"""On what a saved guest depends, and on what it does not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.hypervisor.test_argv import MACHINE
from vclaw.hypervisor.machine import Machine, Share
from vclaw.hypervisor.qemu import accelerator, snapshot
from vclaw.model import NONE, OPEN


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file in QEMU's place: no fingerprint starts it."""
    path = tmp_path / "qemu-system-x86_64"
    path.write_bytes(b"qemu")
    return path


TCG = replace(MACHINE, accelerator="tcg")


@pytest.mark.parametrize(
    "other",
    [
        replace(TCG, name="another"),
        replace(TCG, forwards=()),
        replace(TCG, network=OPEN),
        replace(TCG, network=NONE, allow_host_port=(80,)),
        replace(TCG, runtime=Path("/elsewhere/openclaw.squashfs")),
        replace(TCG, shares=(Share("state", Path("/x")), Share("workspace", Path("/y")))),
        replace(TCG, shares=(TCG.shares[0], replace(TCG.shares[1], readonly=True))),
    ],
    ids=["name", "ports", "network", "host ports", "cache", "folders", "read-only"],
)
def test_what_the_guest_does_not_see_is_no_part_of_it(program: Path, other: Machine) -> None:
    assert snapshot.fingerprint(program, other) == snapshot.fingerprint(program, TCG)


@pytest.mark.parametrize(
    "other",
    [
        replace(TCG, cpus=3),
        replace(TCG, memory_mib=2048),
        replace(TCG, arch="arm64"),
        replace(TCG, shares=TCG.shares[:1]),
        MACHINE,
    ],
    ids=["cpus", "memory", "arch", "number of shares", "accelerator"],
)
def test_another_machine_has_another_one(
    program: Path, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "processor_digest", lambda: "")
    assert snapshot.fingerprint(program, other) != snapshot.fingerprint(program, TCG)


def test_a_hypervisor_of_another_size_or_time_has_another_one(program: Path) -> None:
    first = snapshot.fingerprint(program, TCG)
    stat = program.stat()
    os.utime(program, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = snapshot.fingerprint(program, TCG)
    program.write_bytes(b"qemu of another version")
    os.utime(program, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    third = snapshot.fingerprint(program, TCG)
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(("name", "matters"), [("kvm", True), ("hvf", True), ("tcg", False)])
def test_the_hosts_processor_matters_to_a_guest_that_runs_on_it(
    program: Path, monkeypatch: pytest.MonkeyPatch, name: str, matters: bool
) -> None:
    machine = replace(MACHINE, accelerator=name)
    found = []
    for processor in ("one", "another"):
        monkeypatch.setattr(accelerator, "processor_digest", lambda word=processor: word)
        found.append(snapshot.fingerprint(program, machine))
    assert (found[0] != found[1]) is matters
