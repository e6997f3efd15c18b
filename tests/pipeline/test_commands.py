"""The installed command through a claw's whole life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.pipeline.world import World
from tests.support.command import VCLAW, run_vclaw, show
from vclaw import fsutil, runtime

FLAGS = (
    *("--disk-gib", "1", "--cpus", "1", "--memory-mib", "2048"),
    *("--openclaw-version", runtime.DEFAULT_VERSION),
)


def words(world: World) -> list[str]:
    """`run` for a claw named new, of the world's image and workspace."""
    assert world.spec.image.path is not None
    folder = str(world.spec.workspace)
    port = str(world.spec.gateway_port)
    named = ["--name", "new", "--workspace", folder, "--port", port]
    return ["run", str(world.spec.image.path), *named, *FLAGS]


def vclaw(world: World, *argv: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = run_vclaw(*argv, env=world.env)
    assert done.returncode == status, show(done)
    assert "Traceback" not in done.stderr
    return done


def ps(world: World) -> dict[str, dict[str, Any]]:
    """What `vclaw ps` says, by name."""
    return {claw["name"]: claw for claw in json.loads(vclaw(world, "ps", "--json").stdout)}


def test_a_claw_lives_from_run_to_rm(world: World) -> None:
    world.build_runtime()
    ran = vclaw(world, *words(world)).stdout
    assert "status: ready" in ran
    assert f"workspace: {world.spec.workspace}" in ran
    assert vclaw(world, *words(world)).stdout == ran
    assert ps(world)["new"]["status"] == "ready"
    vclaw(world, "suspend", "new")
    assert ps(world)["new"]["status"] == "suspended"
    assert "status: ready" in vclaw(world, "resume", "new").stdout
    assert world.starts == 1
    vclaw(world, "stop", "new")
    assert ps(world)["new"]["status"] == "stopped"
    assert vclaw(world, "start", "new").stdout == ran
    assert world.starts == 2
    table = vclaw(world, "ps").stdout.splitlines()
    assert table[0].split() == [
        *("CLAWID", "IMAGE", "STATUS", "GATEWAY", "PID", "UPDATED(UTC)", "LAST_ERROR")
    ]
    assert [row.split()[0] for row in table[1:]] == ["demo", "new"]
    vclaw(world, "rm", "new", "demo")
    assert ps(world) == {}
    assert list(world.home.instances.iterdir()) == []


def test_a_log_holds_no_token_and_a_script_gets_it(world: World) -> None:
    world.build_runtime()
    plain = vclaw(world, *words(world))
    token = fsutil.read_json(world.home.claw("new").secrets)["token"]
    assert token not in plain.stdout + plain.stderr
    result = json.loads(vclaw(world, *words(world), "--json").stdout)
    assert result["token"] == token
    assert result["gateway"].endswith(f"/#token={token}")
    assert result["status"] == "ready"
    vclaw(world, "rm", "new")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_what_there_is(world: World, signum: signal.Signals) -> None:
    world.build_runtime()
    world.turn("not-ready")
    child = subprocess.Popen(
        [VCLAW, *words(world)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **world.env},
    )
    deadline = time.monotonic() + 20
    while world.starts == 0 or not world.home.claw("new").serial_log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signum)
    said = child.communicate(timeout=20)[1]
    assert child.returncode == 130, said
    assert "vclaw rm CLAWID" in said
    assert "Traceback" not in said
    assert ps(world)["new"]["status"] in ("running", "booting")
    vclaw(world, "rm", "new", "--force")
    assert "new" not in ps(world)


def test_a_run_that_gets_not_ready_names_the_check(world: World) -> None:
    world.build_runtime()
    world.turn("not-ready")
    done = vclaw(world, *words(world), "--ready-timeout-secs", "0.5", status=1)
    assert "'gateway ready' does not hold" in done.stderr
    assert "5 of 6: gateway live" in done.stderr
    assert str(world.home.claw("new").serial_log) in done.stderr
    assert ps(world)["new"]["status"] == "unhealthy"
    assert "gateway ready" in ps(world)["new"]["last_error"]
    vclaw(world, "rm", "new")


def test_vclaw_doit_is_plain_doit(world: World) -> None:
    listed = vclaw(world, "doit", "list", "--all", "--quiet")
    assert listed.stdout == world.doit("list", "--all", "--quiet").stdout
    assert "ready:demo" in listed.stdout.split()
    # doit says by its exit status that the stage is to be run.
    info = vclaw(world, "doit", "info", "seed:demo", status=1)
    assert str(world.paths.seed) in info.stdout
