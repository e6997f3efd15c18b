"""A project's folder may be called anything: its claw runs, is shown and is removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.pipeline.test_commands import FLAGS, vclaw
from tests.pipeline.world import World
from tests.support.command import run_vclaw

NAMES = (
    "with space",
    "with,comma,readonly=on",
    "with\"double and 'single quotes'",
    "with\nline",
    "with\x1b[2Jescape",
    "$(touch x)`;&|",
    "ünïcödé 日本",
    "-rf",
    os.fsdecode(b"caf\xe9 in latin-1"),
    "n" * 255,
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_folder_of_any_name_gets_its_claw(world: World, name: str) -> None:
    folder = world.spec.workspace / name
    folder.mkdir()
    (folder / "file").touch()
    world.build_runtime()
    image = str(world.spec.image.path)
    port = str(world.spec.gateway_port)
    ran = vclaw(world, "run", image, f"--workspace={folder}", "--port", port, "--json", *FLAGS)
    told = json.loads(ran.stdout)
    assert told["workspace"] == str(folder)
    claw = told["clawid"]
    assert vclaw(world, "start", claw).stdout, "the same folder, found again"
    assert len(vclaw(world, "ps").stdout.splitlines()) == 3
    for verb in ("inspect", "timeline", "verify"):
        assert "\x1b" not in vclaw(world, verb, claw).stdout
    vclaw(world, "rm", claw, "--yes", "--force")
    assert (folder / "file").exists()


def test_a_path_that_is_too_long_is_refused_and_nothing_is_made(world: World) -> None:
    for text in ("n" * 300, "/" + "n" * 300, "/".join(["n" * 200] * 30)):
        for words in (("run", text), ("run", "debian:12", "--workspace", text)):
            done = run_vclaw(*words, env=world.env)
            assert done.returncode == 2, done.stderr
            assert "internal error" not in done.stderr
    data = Path("/tmp") / ("d" * 120)
    done = run_vclaw("run", "debian:12", env={**world.env, "VCLAW_DATA_DIR": str(data)})
    assert done.returncode == 2
    assert "unix socket" in done.stderr
    assert not data.exists()
