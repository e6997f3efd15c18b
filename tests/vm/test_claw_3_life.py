"""The life of the same claw: suspended, resumed, stopped, started, removed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import requests

from tests.support.claw import Claw
from vclaw import gateway
from vclaw.hypervisor.process import start_mark

pytestmark = pytest.mark.vm


def base(claw: Claw) -> str:
    return f"http://127.0.0.1:{claw.spec.gateway_port}"


def test_suspend_stops_the_guest_and_resume_sets_its_clock(claw: Claw) -> None:
    claw.vclaw("suspend", claw.name)
    assert claw.row()["status"] == "suspended"
    with pytest.raises(requests.RequestException):
        requests.get(base(claw) + "/healthz", timeout=3)
    time.sleep(20)
    claw.vclaw("resume", claw.name)
    assert claw.row_when_ready()["status"] == "ready"
    difference = abs(time.time() - float(claw.ssh("date +%s.%N")))
    assert difference < 10, "the guest's clock stood still while it was suspended"
    assert gateway.health(claw.spec.gateway_port, claw.token, 120) is not None


def test_disk_state_and_settings_live_through_stop_and_start(claw: Claw) -> None:
    claw.ssh("echo kept >~/kept.txt; sync")
    (claw.paths.state / "kept.txt").write_text("kept\n")
    pid = claw.row()["pid"]
    claw.vclaw("stop", claw.name)
    assert (claw.row()["status"], start_mark(pid)) == ("stopped", "")
    token, key = claw.token, claw.paths.known_hosts.read_text()

    port = claw.spec.gateway_port + 1000
    words = ["run", f"--name={claw.name}", f"--workspace={claw.spec.workspace}"]
    claw.vclaw(*words, f"--port={port}", "--ready-timeout-secs=1800", minutes=45)

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
    claw.vclaw("rm", claw.name)
    assert start_mark(pid) == ""
    assert not claw.paths.root.exists()
    assert list(claw.paths.root.parent.iterdir()) == []
    assert (project / "sub" / "made.txt").read_text() == "from the guest\n"
