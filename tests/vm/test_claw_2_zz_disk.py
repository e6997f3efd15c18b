"""The shared claw's memory on the disk and back, and its twin, with the guest's own words on it."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.claw import Claw
from tests.support.command import run_vclaw
from vclaw.hypervisor.process import start_mark

pytestmark = pytest.mark.vm

TWIN = "tests-twin"

SELF = "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id; cat /run/in-memory"


def words_of(claw: Claw, seconds: float = 120.0) -> list[str]:
    """What SELF prints in a guest whose SSH server is just being started with its keys."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return claw.ssh(SELF).split()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def test_a_claw_goes_on_from_the_disk_with_its_memory_clock_and_folders(claw: Claw) -> None:
    claw.ssh("echo kept | sudo tee /run/in-memory")
    claw.ssh("sudo systemctl stop web || true")  # another test's, in the workspace
    claw.ssh("sudo systemd-run --unit=holder --working-directory=/workspace sleep 4321")
    held = claw.vclaw("suspend", "--to-disk", claw.name, status=2)
    assert "(sleep) uses /workspace" in held.stderr
    assert f"vclaw suspend {claw.name}" in held.stderr
    assert claw.row_when_ready()["status"] == "ready"
    claw.ssh("sudo systemctl stop holder")

    before, pid = claw.ssh(SELF), claw.row()["pid"]
    claw.vclaw("suspend", "--to-disk", claw.name)
    assert (claw.row()["status"], claw.row()["pid"]) == ("suspended", None)
    assert start_mark(pid) == ""
    time.sleep(20)
    refused = claw.vclaw("start", claw.name, status=2)
    assert f"vclaw resume {claw.name}" in refused.stderr

    claw.vclaw("resume", claw.name, "--ready-timeout-secs", "1800", minutes=40)
    assert claw.ssh(SELF) == before
    difference = abs(time.time() - float(claw.ssh("date +%s.%N")))
    assert difference < 10, "the guest's clock stood still while it was on the disk"
    assert claw.ssh("cat /workspace/hello.txt") == "from the host"
    assert claw.vclaw("exec", claw.name, "--", "true").returncode == 0
    assert not claw.paths.memory.exists()


@pytest.fixture
def twin(claw: Claw) -> Claw:
    """A twin of the claw, whose OpenClaw is not waited for."""
    claw.ssh("echo kept | sudo tee /run/in-memory; echo mine >/var/lib/openclaw/mine")
    claw.vclaw("fork", claw.name, "--name", TWIN, "--no-wait")
    return Claw(TWIN, claw.env)


def test_a_twin_runs_beside_its_claw_as_somebody_else(claw: Claw, twin: Claw) -> None:
    try:
        other = twin.wait_for_boot()
        assert len(other["mounts"]) == 2
        name, machine, boot, memory = words_of(twin)
        assert (name, memory) == (TWIN, "kept")
        mine = words_of(claw)
        assert mine[0] == claw.name
        assert mine[1] != machine
        assert mine[2:] == [boot, "kept"], "both go on from one memory"
        key = "cat /etc/ssh/ssh_host_ed25519_key.pub"
        assert claw.ssh(key) != twin.ssh(key)
        assert claw.token != twin.token
        random = "head -c 32 /dev/urandom | sha256sum"
        assert claw.ssh(random) != twin.ssh(random)
        assert twin.ssh("cat /workspace/hello.txt") == "from the host"
        twin.ssh("echo its >/var/lib/openclaw/mine; touch ~/twin")
        assert claw.ssh("cat /var/lib/openclaw/mine; ls ~/twin 2>&1 || true").startswith("mine\n")
    finally:
        run_vclaw("rm", TWIN, "--yes", "--force", env=claw.env, timeout=300)


@pytest.mark.full
def test_a_twin_gets_ready_and_so_does_its_claw_again(claw: Claw) -> None:
    words = ("fork", claw.name, "--name", TWIN, "--json", "--ready-timeout-secs", "3000")
    try:
        made = json.loads(claw.vclaw(*words, minutes=60).stdout)
        assert [item["status"] for item in made] == ["ready"]
        assert Claw(TWIN, claw.env).row_when_ready()["status"] == "ready"
        assert claw.row_when_ready()["status"] == "ready"
    finally:
        run_vclaw("rm", TWIN, "--yes", "--force", env=claw.env, timeout=300)


def test_the_claw_is_ready_again_afterwards(claw: Claw) -> None:
    """The files after this one need it so."""
    claw.vclaw("resume", claw.name, "--ready-timeout-secs", "1800", minutes=40)
    assert claw.row_when_ready()["status"] == "ready"
