"""Claws beside the first one that begin from its template: each is another machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.claw import Claw
from vclaw import disk, fsutil, hypervisor
from vclaw.home import Home

pytestmark = pytest.mark.vm

BOTH = ("tests-second", "tests-third")

FIRST_WORDS = """
    head -c 32 /dev/urandom | base64
    date +%s.%N
    cat /etc/machine-id
    hostname
    cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub
    sudo systemctl stop openclaw
"""
"""The first command in each clone; without OpenClaw the host has its processors for the tests."""


@dataclass(frozen=True)
class Clone:
    """A claw that was begun a moment ago, and what was seen of it then."""

    claw: Claw
    state: Path
    disk_bytes: int  # when `vclaw run` had returned
    seconds: float  # until it had
    asked: tuple[float, float]  # the host's time before and after FIRST_WORDS
    said: list[str]  # what those printed


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that the clones may read."""
    folder = tmp_path_factory.mktemp("read-only")
    (folder / "hello.txt").write_text("from the host\n")
    return folder


@pytest.fixture(scope="module")
def clones(
    claw: Claw, env: dict[str, str], readable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Clone]]:
    """Two claws beside the first one, with a workspace to read and a state outside."""
    states = tmp_path_factory.mktemp("states")
    claws = [Claw(name, env) for name in BOTH]
    assert claw.report(60)["applied"]
    try:
        yield [_begin(one, readable, states / one.name) for one in claws]
    finally:
        for one in claws:
            one.vclaw("rm", one.name, "--yes", "--force")
        assert not any(one.paths.root.exists() for one in claws)
        assert [path.name for path in readable.iterdir()] == ["hello.txt"]
        assert all((states / name / "openclaw.json").exists() for name in BOTH)


def _begin(claw: Claw, project: Path, state: Path) -> Clone:
    words = ["run", "debian:12", f"--name={claw.name}", f"--workspace={project}"]
    began = time.monotonic()
    claw.vclaw(*words, f"--state={state}", "--read-only-workspace", "--no-wait")
    took, size = time.monotonic() - began, claw.paths.disk.stat().st_blocks * 512
    claw.wait_for_boot()
    before = time.time()
    said = claw.ssh(FIRST_WORDS, 300).splitlines()
    return Clone(claw, state, size, took, (before, time.time()), said)


def test_a_clones_guest_answers_and_has_applied_its_own_settings(clones: list[Clone]) -> None:
    for clone in clones:
        report = clone.claw.report(60)
        assert report["applied"] == fsutil.read_json(clone.claw.paths.guest)["generation"]
        assert [step["name"] for step in report["steps"]][:2] == ["channel", "hostname"]
        assert report["steps"][0]["start"] >= 0, "counted from its own beginning"
        assert fsutil.read_json(clone.claw.paths.clone)["step"] == "done"
        print(f"{clone.claw.name}: begun after {clone.seconds:.1f} s, applied at", end=" ")
        print(f"{report['steps'][-1]['end']:.1f} s, {clone.disk_bytes / 1e6:.1f} MB of disk")


def test_the_first_one_goes_on_beside_its_clones(claw: Claw, clones: list[Clone]) -> None:
    assert claw.report(60)["applied"]
    taken = [
        forward.host for one in (claw, *(c.claw for c in clones)) for forward in one.spec.forwards
    ]
    assert len(set(taken)) == len(taken)


def test_no_two_of_them_are_the_same_machine(claw: Claw, clones: list[Clone]) -> None:
    first = claw.ssh(FIRST_WORDS.replace("sudo systemctl stop openclaw", "true")).splitlines()
    for number, what in ((0, "random bytes"), (2, "machine id"), (3, "hostname"), (4, "host key")):
        values = [said[number] for said in (first, *(clone.said for clone in clones))]
        assert all(values)
        assert len(set(values)) == 3, what
    assert len({claw.token, *(clone.claw.token for clone in clones)}) == 3
    assert [clone.said[3] for clone in clones] == list(BOTH)


def test_a_clones_clock_is_the_hosts(clones: list[Clone]) -> None:
    for clone in clones:
        before, after = clone.asked
        assert before - 5 < float(clone.said[1]) < after + 5


def test_the_folders_are_mounted_with_their_owners_and_the_workspace_to_read_alone(
    clones: list[Clone], readable: Path
) -> None:
    clone = clones[0]
    owners = clone.claw.ssh("stat -c %u:%g /workspace /workspace/hello.txt /var/lib/openclaw")
    folders = (readable, readable / "hello.txt", clone.state)
    assert owners.split() == [f"{path.stat().st_uid}:{path.stat().st_gid}" for path in folders]
    # Root in the guest can mount it anew; the hypervisor still lets nothing be written.
    for before in ("true", "sudo mount -o remount,rw /workspace"):
        for write in ("touch /workspace/new", "rm /workspace/hello.txt"):
            printed = clone.claw.ssh(
                f"{before} && cat /workspace/hello.txt; sudo {write} || echo no"
            )
            assert printed == "from the host\nno"
    assert "gateway" in json.loads((clone.state / "openclaw.json").read_text())


def test_their_disks_lie_over_one_template_and_hold_only_what_they_changed(
    claw: Claw, clones: list[Clone], env: dict[str, str]
) -> None:
    bases = set()
    for one in (claw, *(clone.claw for clone in clones)):
        made = disk.load(one.paths.disk_meta)
        assert made is not None
        bases.add(made.base)
    (base,) = bases
    assert Path(base).parent == Home.from_env(env).templates
    assert all(clone.disk_bytes < 50e6 for clone in clones)


def test_a_template_in_use_is_not_removed(claw: Claw, clones: list[Clone]) -> None:
    made = disk.load(claw.paths.disk_meta)
    assert made is not None
    done = claw.vclaw("template", "rm", Path(made.base).name, status=2)
    for one in (claw, *(clone.claw for clone in clones)):
        assert one.name in done.stderr
    assert (Path(made.base) / "template.json").exists()


def test_all_of_them_map_one_memory(claw: Claw, clones: list[Clone]) -> None:
    found = set()
    for one in (claw, *(clone.claw for clone in clones)):
        pid = one.row()["pid"]
        fds = list(Path(f"/proc/{pid}/fd").iterdir())
        held = {fd.stat().st_ino for fd in fds if os.readlink(fd).startswith("/memfd:vclaw")}  # noqa: PTH115
        assert len(held) == 1
        found |= held
    assert len(found) == 1


def test_what_a_clone_writes_to_its_memory_and_disk_is_its_own(clones: list[Clone]) -> None:
    one, other = (clone.claw for clone in clones)
    one.ssh("echo mine >~/mine.txt; sudo touch /run/mine; sync")
    assert other.ssh("ls ~/mine.txt /run/mine 2>&1 | grep -c 'No such'") == "2"


def test_a_clone_that_stops_boots_from_its_disk_with_an_id_of_its_own(clones: list[Clone]) -> None:
    one = clones[0].claw
    one.vclaw("stop", one.name, "--force")
    assert not one.paths.clone.exists()
    one.vclaw("start", one.name, "--ready-timeout-secs", "1", status=1)
    one.wait_for_boot()
    hostname, machine_id = one.ssh("hostname; cat /etc/machine-id", 300).splitlines()
    assert hostname == one.name
    assert len(machine_id) == 32
    assert machine_id not in (clones[1].said[2], "0" * 32)
    assert hypervisor.current().memory_of(fsutil.read_json(one.paths.run)["argv"]) is None
