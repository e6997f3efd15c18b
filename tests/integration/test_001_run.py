"""A whole VM of INTEGRATION_IMAGE_REF, from `vclaw run` up to a gateway that answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.command import run_vclaw, show

BOOT_SECONDS = 1800
"""Fetching, building and booting, all under emulation on a slow host."""

NAME = "integration-001"


@pytest.fixture
def claw(image_ref: str, workspace: Path, shared_env: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What `vclaw run --json` printed about a claw that is ready; removed afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["run", *([image_ref] if image_ref else []), f"--workspace={workspace}"]
    words += [f"--name={NAME}", f"--port={port}", "--memory-mib=3072", "--json"]
    try:
        done = run_vclaw(*words, env=shared_env, timeout=BOOT_SECONDS)
        assert done.returncode == 0, show(done)
        value: dict[str, Any] = json.loads(done.stdout)
        assert f":{port}/" in value["gateway"]
        yield value
    finally:
        run_vclaw("rm", NAME, "--yes", "--force", env=shared_env, timeout=300)


@pytest.mark.vm
@pytest.mark.full
def test_run_ends_ready_and_rm_leaves_nothing(
    claw: dict[str, Any], home: Path, workspace: Path, shared_env: dict[str, str]
) -> None:
    assert claw["status"] == "ready"
    base = claw["gateway"].partition("#")[0]
    answer = requests.get(base + "readyz", timeout=30)
    assert (answer.status_code, answer.json()["ready"]) == (200, True)

    listed = json.loads(run_vclaw("ps", "--json", env=shared_env).stdout)
    assert [(row["name"], row["status"]) for row in listed] == [(NAME, "ready")]

    gone = run_vclaw("rm", NAME, "--yes", "--force", env=shared_env, timeout=300)
    assert gone.returncode == 0, show(gone)
    assert not (home / "instances" / NAME).exists()
    assert (workspace / "hello.txt").read_text() == "from the host\n"
    with pytest.raises(requests.ConnectionError):
        requests.get(base + "readyz", timeout=5)
