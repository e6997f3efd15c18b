"""The life of one real claw of debian:12, in the order in which its user would live it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.claw import Claw
from tests.support.command import run_vclaw, show
from vclaw import gateway
from vclaw.hypervisor.process import start_mark

pytestmark = pytest.mark.vm

NAME = "tests-debian"
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run_words(project: Path) -> list[str]:
    """The command that made the claw; the same words again find it."""
    words = ["run", "debian:12", f"--name={NAME}", f"--workspace={project}"]
    return [*words, "--publish", "28080:8080", "--env", 'GREETING=hello "you" $HOME']


@pytest.fixture(scope="module")
def claw(env: dict[str, str], run_words: list[str]) -> Iterator[Claw]:
    """A ready claw, after a first wait that was far too short."""
    impatient = run_vclaw(*run_words, "--ready-timeout-secs", "15", env=env, timeout=1800)
    claw = Claw(NAME, env)
    try:
        assert impatient.returncode == 1, show(impatient)
        assert "was not ready within 15 s: 'guest booted'" in impatient.stderr, show(impatient)
        assert str(claw.paths.serial_log) in impatient.stderr, show(impatient)
        assert claw.row()["status"] == "unhealthy"
        assert "was not ready within 15 s" in claw.row()["last_error"]
        claw.vclaw(*run_words)
        yield claw
    finally:
        run_vclaw("rm", NAME, "--yes", "--force", env=env, timeout=300)


def base(claw: Claw) -> str:
    return f"http://127.0.0.1:{claw.spec.gateway_port}"


def test_the_gateway_is_ready_and_ps_says_so(claw: Claw) -> None:
    answer = requests.get(base(claw) + "/readyz", timeout=60)
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    row = claw.row()
    assert (row["status"], row["image"], row["last_error"]) == ("ready", "debian:12", "")
    assert row["gateway"] == base(claw) + "/"


def test_the_token_is_accepted_and_a_wrong_one_refused(claw: Claw) -> None:
    assert gateway.health(claw.spec.gateway_port, claw.token, 120) is not None
    assert gateway.health(claw.spec.gateway_port, "wrong", 120) is None


def test_the_workspace_is_one_folder_on_both_sides_with_one_owner(
    claw: Claw, project: Path
) -> None:
    script = """
        cat /workspace/hello.txt
        mkdir /workspace/sub && echo from the guest >/workspace/sub/made.txt
        ln -s made.txt /workspace/sub/link
        stat -c %u /workspace/hello.txt
    """
    printed = claw.ssh(script).splitlines()
    owner = project.stat().st_uid
    assert printed == ["from the host", str(owner)]
    made = project / "sub" / "made.txt"
    assert made.read_text() == "from the guest\n"
    assert (made.stat().st_uid, made.parent.stat().st_uid) == (owner, owner)
    assert (project / "sub" / "link").is_symlink()
    assert os.readlink(project / "sub" / "link") == "made.txt"  # noqa: PTH115


def test_the_guest_has_what_was_asked_for(claw: Claw) -> None:
    script = """
        hostname
        findmnt -n -o SIZE --bytes /
        ls -d /lib/modules/$(uname -r)
        apt-mark showhold | grep -c "^linux-image-$(uname -r)$"
        sudo sh -c 'tr "\\0" "\\n" </proc/$(systemctl show -p MainPID --value openclaw)/environ' \
            | grep ^GREETING=
        openclaw --version
    """
    name, size, modules, held, greeting, version = claw.ssh(script, 300).splitlines()
    assert name == NAME
    assert int(size) > 18 * 2**30, "the file system fills the disk"
    assert modules.startswith("/lib/modules/")
    assert held == "1", "the running kernel's package is held"
    assert greeting == 'GREETING=hello "you" $HOME'
    assert claw.spec.openclaw_version in version


def test_a_published_port_reaches_a_server_in_the_guest(claw: Claw) -> None:
    claw.ssh(
        "sudo systemd-run --unit=web --working-directory=/workspace "
        "python3 -m http.server 8080 --bind 0.0.0.0"
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = requests.get("http://127.0.0.1:28080/hello.txt", timeout=30)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(1)
    assert answer.text == "from the host\n"


def test_the_same_run_again_does_nothing_and_says_so(claw: Claw, run_words: list[str]) -> None:
    before = claw.row()["pid"], claw.paths.seed.stat().st_ino
    done = claw.vclaw(*run_words)
    for stage in ("disk", "seed", "boot", "ready"):
        assert f"{stage}:{NAME}: up to date" in done.stderr, show(done)
    assert "status: ready" in done.stdout
    assert claw.token not in done.stdout, "a log must not hold the token"
    assert (claw.row()["pid"], claw.paths.seed.stat().st_ino) == before


def test_plain_doit_finds_all_stages_done(claw: Claw) -> None:
    before = claw.row()["pid"], claw.paths.seed.stat().st_ino, claw.paths.disk.stat().st_ino
    done = subprocess.run(
        [sys.executable, "-m", "doit", f"ready:{NAME}"],
        cwd=REPO,
        env={**os.environ, **claw.env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, show(done)
    after = claw.row()["pid"], claw.paths.seed.stat().st_ino, claw.paths.disk.stat().st_ino
    assert after == before


def test_other_settings_are_refused_while_it_runs(claw: Claw, run_words: list[str]) -> None:
    done = claw.vclaw(*run_words, "--env", "MORE=1", status=2)
    assert "running with other settings" in done.stderr
    other = claw.vclaw("run", "debian:13", f"--name={NAME}", status=2)
    assert "There is a claw" in other.stderr
    assert claw.row()["status"] == "ready"


def test_a_second_claw_boots_beside_it_on_other_ports(
    claw: Claw, tmp_path: Path, env: dict[str, str]
) -> None:
    second = Claw("tests-second", env)
    words = ("run", "debian:12", f"--name={second.name}", f"--workspace={tmp_path}")
    try:
        done = second.vclaw(*words, "--memory-mib=2048", "--no-wait")
        ports = {forward.host for forward in claw.spec.forwards}
        assert ports.isdisjoint(forward.host for forward in second.spec.forwards)
        assert "port 18789 is taken" in done.stderr, show(done)
        steps = second.wait_for_boot()["steps"]
        assert [step["name"] for step in steps][:2] == ["channel", "hostname"]
        assert claw.report(60)["applied"]
    finally:
        second.vclaw("rm", second.name, "--yes", "--force")
    assert not second.paths.root.exists()


def test_suspend_stops_the_guest_and_resume_sets_its_clock(claw: Claw) -> None:
    claw.vclaw("suspend", NAME)
    assert claw.row()["status"] == "suspended"
    with pytest.raises(requests.RequestException):
        requests.get(base(claw) + "/healthz", timeout=3)
    time.sleep(20)
    claw.vclaw("resume", NAME)
    assert claw.row()["status"] == "ready"
    difference = abs(time.time() - float(claw.ssh("date +%s.%N")))
    assert difference < 10, "the guest's clock stood still while it was suspended"
    assert gateway.health(claw.spec.gateway_port, claw.token, 120) is not None


def test_disk_state_and_settings_live_through_stop_and_start(claw: Claw) -> None:
    claw.ssh("echo kept >~/kept.txt; sync")
    (claw.paths.state / "kept.txt").write_text("kept\n")
    pid = claw.row()["pid"]
    claw.vclaw("stop", NAME)
    assert (claw.row()["status"], start_mark(pid)) == ("stopped", "")
    token, key = claw.token, claw.paths.known_hosts.read_text()

    port = claw.spec.gateway_port + 1000
    claw.vclaw("run", f"--name={NAME}", f"--workspace={claw.spec.workspace}", f"--port={port}")

    assert claw.ssh("cat ~/kept.txt /var/lib/openclaw/kept.txt").split() == ["kept", "kept"]
    assert claw.spec.gateway_port == port
    config = json.loads((claw.paths.state / "openclaw.json").read_text())
    assert f"http://127.0.0.1:{port}" in config["gateway"]["controlUi"]["allowedOrigins"]
    assert (claw.token, claw.paths.known_hosts.read_text()) == (token, key)
    assert gateway.health(port, token, 120) is not None


def test_rm_leaves_no_process_and_no_folder_and_keeps_the_workspace(
    claw: Claw, project: Path
) -> None:
    pid = claw.row()["pid"]
    claw.vclaw("rm", NAME)
    assert start_mark(pid) == ""
    assert not claw.paths.root.exists()
    assert list(claw.paths.root.parent.iterdir()) == []
    assert (project / "sub" / "made.txt").read_text() == "from the guest\n"
