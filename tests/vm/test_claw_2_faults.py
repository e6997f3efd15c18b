"""Faults inside the guest of the same claw: a full disk, no memory, a gateway killed or broken."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.claw import Claw
from tests.support.command import run_vclaw, show

pytestmark = pytest.mark.vm

READY_MINUTES = 35
PATIENCE = f"--ready-timeout-secs={READY_MINUTES * 60 - 300}"

FILL = """
    stat -fc '%f %S' / | { read blocks size; fallocate -l $((blocks * size - 33554432)) /filler; }
    if dd if=/dev/zero of=/filler.rest bs=1M; then exit 1; fi 2>&1
    if dd if=/dev/zero of=/filler.rest bs=4k oflag=append conv=notrunc; then exit 1; fi 2>&1
"""
"""Root's own reserve is used up too, the last blocks one by one."""

EAT = """
print(open("/proc/self/cgroup").read(), flush=True)
held = []
while True:
    held.append(bytearray(b"x") * (64 << 20))
"""

UNBROKEN = """
import pathlib, sqlite3
state = pathlib.Path("/var/lib/openclaw")
for path in sorted([*state.glob("state/*.sqlite"), *state.glob("agents/*/agent/*.sqlite")]):
    base = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=60)
    print(path, base.execute("PRAGMA integrity_check").fetchone()[0])
"""
"""Prints each of OpenClaw's databases and `ok`; those in `tmp` are locks, and held."""


def as_root(claw: Claw, script: str, minutes: float = 5) -> str:
    """What a shell script of root in the guest prints."""
    done = claw.vclaw("exec", claw.name, "--", "sudo", "sh", "-ec", script, minutes=minutes)
    return done.stdout.strip()


def main_pid(claw: Claw) -> str:
    """The pid of the gateway in the guest, "0" where it does not run."""
    return as_root(claw, "systemctl show -p MainPID --value openclaw")


CLEAR = "rm -f /filler /filler.rest"


@pytest.fixture
def full_disk(claw: Claw) -> Iterator[None]:
    """Not one block of the guest's disk is free."""
    try:
        assert as_root(claw, FILL).count("No space left on device") == 2
        yield
    finally:
        as_root(claw, CLEAR)


@pytest.mark.usefixtures("full_disk")
def test_a_guest_without_disk_space_is_reached_and_says_what_is_wrong(
    claw: Claw, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(range(256)) * 4096)
    refused = claw.vclaw("cp", tmp_path / "big", f"{claw.name}:~/big", status=1)
    assert "No space left on device" in refused.stderr
    assert "could not be copied" in refused.stderr
    assert "big" not in claw.ssh("ls -A ~").split(), "no part of it stays"
    done = run_vclaw("exec", claw.name, "--", "sh", "-c", "echo x >~/x", env=claw.env, timeout=120)
    assert done.returncode != 0, show(done)
    assert claw.report()["applied"]
    assert claw.row_when_ready()["status"] == "ready"
    claw.vclaw("exec", claw.name, "--", "sh", "-c", "echo kept >full.txt && rm full.txt")
    assert claw.vclaw("logs", claw.name, "-n", "5").stdout


def test_a_disk_that_was_full_is_as_before_once_there_is_space(claw: Claw) -> None:
    claw.ssh("echo x >~/x && rm ~/x")
    assert claw.row_when_ready()["status"] == "ready"


@pytest.mark.full  # a start of the gateway: minutes under emulation
def test_a_killed_gateway_is_missed_and_comes_back_with_its_state_whole(claw: Claw) -> None:
    pid, before = claw.row()["pid"], main_pid(claw)
    config = (claw.paths.state / "openclaw.json").read_bytes()
    as_root(claw, f"kill -9 {before}")
    deadline = time.monotonic() + 60
    while (row := claw.row())["status"] != "unhealthy":
        # The first questions may end in silence, which a busy gateway would give too.
        assert row["status"] == "running", row
        assert time.monotonic() < deadline
    assert (row["pid"], row["last_error"]) == (pid, "OpenClaw was ready and does not answer now.")
    began = time.monotonic()
    claw.vclaw("start", claw.name, PATIENCE, minutes=READY_MINUTES)
    print(f"the gateway was back after {time.monotonic() - began:.1f} s", file=sys.stderr)
    row = claw.row_when_ready()
    assert (row["status"], row["pid"], row["last_error"]) == ("ready", pid, "")
    assert main_pid(claw) not in ("0", before)
    assert (claw.paths.state / "openclaw.json").read_bytes() == config
    databases = claw.vclaw("exec", claw.name, "--", "python3", "-c", UNBROKEN).stdout.splitlines()
    assert databases[-1].startswith("/var/lib/openclaw/state/openclaw.sqlite "), databases
    assert [line for line in databases if not line.endswith(" ok")] == []


def test_a_tool_of_the_agents_that_eats_all_memory_dies_alone(claw: Claw) -> None:
    """It is started in the gateway's own control group, as the agent's tools are."""
    before = main_pid(claw)
    enter = "echo $$ >/sys/fs/cgroup/system.slice/openclaw.service/cgroup.procs"
    script = f"{enter}; exec setpriv --reuid=claw --regid=claw --init-groups python3 -c '{EAT}'"
    began = time.monotonic()
    words = ("exec", claw.name, "--", "sudo", "sh", "-c", script)
    done = run_vclaw(*words, env=claw.env, timeout=900)
    print(f"the memory was eaten in {time.monotonic() - began:.1f} s", file=sys.stderr)
    assert "openclaw.service" in done.stdout, show(done)
    assert done.returncode == 137, show(done)
    assert "Out of memory" in as_root(claw, "dmesg | grep 'Out of memory' | tail -1")
    assert main_pid(claw) == before
    assert claw.row_when_ready(300)["status"] == "ready"


@pytest.mark.full  # a boot, three starts that fail, and one that does not
@pytest.mark.usefixtures("full_disk")
def test_a_claw_boots_with_a_full_disk_to_be_cleared_and_says_why_openclaw_does_not_start(
    claw: Claw,
) -> None:
    claw.vclaw("stop", claw.name)
    done = claw.vclaw("start", claw.name, PATIENCE, status=1, minutes=READY_MINUTES)
    assert "'gateway live' does not hold" in done.stderr, show(done)
    assert "The guest's disk is full" in done.stderr, show(done)
    assert claw.row()["status"] == "unhealthy"
    as_root(claw, CLEAR)
    claw.vclaw("start", claw.name, PATIENCE, minutes=READY_MINUTES)
    assert claw.row_when_ready()["status"] == "ready"


@pytest.fixture
def broken(claw: Claw) -> Iterator[Path]:
    """openclaw.json that OpenClaw refuses, as a user may write it; then as before."""
    path = claw.paths.state / "openclaw.json"
    good = path.read_bytes()
    bad = json.loads(good)
    bad["gateway"]["port"] = "not a port"
    try:
        path.write_text(json.dumps(bad))
        yield path
    finally:
        path.write_bytes(good)


@pytest.mark.full  # three starts that fail and one that does not: 8 minutes under emulation
def test_a_gateway_that_never_starts_is_told_with_its_log_and_starts_once_it_is_mended(
    claw: Claw, broken: Path
) -> None:
    good = json.loads(broken.read_text())
    good["gateway"]["port"] = 18789
    pid = claw.row()["pid"]
    as_root(claw, "systemctl restart --no-block openclaw")
    began = time.monotonic()
    done = claw.vclaw("start", claw.name, PATIENCE, status=1, minutes=READY_MINUTES)
    seconds = time.monotonic() - began
    print(f"start gave up after {seconds:.0f} s:\n{done.stderr}", file=sys.stderr)
    assert seconds < 900
    assert "'gateway live' does not hold" in done.stderr
    assert "The end of the gateway's log:" in done.stderr
    assert "gateway.port" in done.stderr
    row = claw.row()
    assert (row["status"], row["pid"]) == ("unhealthy", pid)
    assert row["last_error"].startswith("The gateway ended")
    broken.write_text(json.dumps(good))
    claw.vclaw("start", claw.name, PATIENCE, minutes=READY_MINUTES)
    row = claw.row_when_ready()
    assert (row["status"], row["pid"], row["last_error"]) == ("ready", pid, "")


GIVEN_UP = "/run/systemd/system/openclaw.service.d/broken.conf"


MENDED = f"rm -f {GIVEN_UP}; systemctl daemon-reload"


@pytest.fixture
def given_up(claw: Claw) -> Iterator[None]:
    """The gateway's unit starts another program, which fails at once."""
    unit = "[Service]\\nExecStart=\\nExecStart=/bin/false\\n"
    try:
        as_root(claw, f"mkdir -p {Path(GIVEN_UP).parent}; printf '{unit}' >{GIVEN_UP}")
        as_root(claw, "systemctl daemon-reload; systemctl restart --no-block openclaw")
        yield
    finally:
        as_root(claw, MENDED)


@pytest.mark.full  # starts that fail at once, twice, and one that does not
@pytest.mark.usefixtures("given_up")
def test_a_gateway_that_systemd_gave_up_is_started_anew_by_a_start(claw: Claw) -> None:
    deadline = time.monotonic() + 900
    while as_root(claw, "systemctl is-active openclaw || true") != "failed":
        assert time.monotonic() < deadline
        time.sleep(5)
    for _ in range(2):
        done = claw.vclaw("start", claw.name, PATIENCE, status=1, minutes=READY_MINUTES)
        assert "The gateway ended" in done.stderr, show(done)
        assert claw.row()["status"] == "unhealthy"
    as_root(claw, MENDED)
    claw.vclaw("start", claw.name, PATIENCE, minutes=READY_MINUTES)
    assert claw.row_when_ready()["status"] == "ready"
