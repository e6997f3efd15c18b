"""A real claw of debian:12 that is ready: what it answers, what it shares, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.support.claw import Claw
from tests.support.command import show
from vclaw import gateway

pytestmark = pytest.mark.vm

REPO = Path(__file__).parents[2]


def base(claw: Claw) -> str:
    return f"http://127.0.0.1:{claw.spec.gateway_port}"


def test_the_gateway_is_ready_and_ps_says_so(claw: Claw) -> None:
    answer = requests.get(base(claw) + "/readyz", timeout=60)
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    row = claw.row_when_ready()
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
    assert name == claw.name
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
        assert f"{stage}:{claw.name}: up to date" in done.stderr, show(done)
    assert "status: ready" in done.stdout
    assert claw.token not in done.stdout, "a log must not hold the token"
    assert (claw.row()["pid"], claw.paths.seed.stat().st_ino) == before


def test_plain_doit_finds_all_stages_done(claw: Claw) -> None:
    before = claw.row()["pid"], claw.paths.seed.stat().st_ino, claw.paths.disk.stat().st_ino
    done = subprocess.run(
        [sys.executable, "-m", "doit", f"ready:{claw.name}"],
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
    other = claw.vclaw("run", "debian:13", f"--name={claw.name}", status=2)
    assert "There is a claw" in other.stderr
    assert claw.row_when_ready()["status"] == "ready"
