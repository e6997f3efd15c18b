"""A machine that runs while run.json says nothing of it: it is shown, left alone, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.world import World
from vclaw import boot, hypervisor
from vclaw.cli.main import main
from vclaw.hypervisor.process import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux who listens")


@pytest.fixture(params=["damaged", "missing"])
def lost(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[World, Process]]:
    """A ready claw whose record is lost, and its process."""
    world.run()
    process = boot.current(world.paths)
    assert process is not None
    if request.param == "missing":
        world.paths.run.unlink()
    else:
        world.paths.run.write_bytes(b"\xff")
    yield world, process
    process.end(patience=0.0)


def row(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["ps", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


def test_ps_and_inspect_show_the_process_and_why(
    lost: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    _, process = lost
    seen = row(capsys)
    assert (seen["status"], seen["pid"]) == ("broken", process.pid)
    assert f"demo runs (process {process.pid})" in seen["last_error"]
    assert main(["inspect", "demo", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["process"]["pid"], shown["process"]["alive"]) == (process.pid, True)
    assert main(["ps"]) == 0
    assert str(process.pid) in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["start", "suspend", "exec"])
def test_other_commands_leave_it_alone_and_say_what_helps(
    lost: tuple[World, Process], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = lost
    assert main([verb, "demo", *(["--", "true"] if verb == "exec" else [])]) == 2
    assert "`vclaw stop demo` ends it" in capsys.readouterr().err
    assert (world.starts, process.alive) == (1, True)
    assert hypervisor.current().state(world.paths) == "running"


@pytest.mark.parametrize("words", [["stop"], ["stop", "--force"], ["rm", "--yes", "--force"]])
def test_it_is_ended_and_a_start_works_again(
    lost: tuple[World, Process], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = lost
    assert main([words[0], "demo", *words[1:]]) == 0
    assert not process.alive
    if words[0] == "rm":
        assert not world.paths.root.exists()
        return
    assert (row(capsys)["status"], row(capsys)["pid"]) == ("stopped", None)
    assert main(["start", "demo", "--ready-timeout-secs", "10"]) == 0
    assert (row(capsys)["status"], world.starts) == ("ready", 2)


def test_one_that_hangs_is_found_and_ended_too(
    lost: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = lost
    os.kill(process.pid, signal.SIGSTOP)
    for _ in range(3):
        assert row(capsys)["pid"] == process.pid
    assert main(["stop", "demo", "--force"]) == 0
    assert not process.alive
    assert not any(path.exists() for path in world.paths.machine_sockets)


@pytest.mark.parametrize("planted", ["a listener", "a link"])
def test_another_program_in_a_sockets_place_is_never_taken_for_it(
    world: World, planted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What runs behind the wall may write to that folder."""
    path = world.paths.qmp_status if planted == "a listener" else Path(f"/tmp/v-{os.getpid()}.sock")
    script = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); "
    script += "s.listen(); print(flush=True); time.sleep(60)"
    argv = [sys.executable, "-c", script, str(path), f"path={world.paths.qmp_status}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        try:
            stranger.stdout.readline()
            if planted == "a link":
                world.paths.qmp_status.symlink_to(path)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(world.paths.qmp_status))
            assert row(capsys)["status"] == "stopped"
            assert main(["stop", "demo", "--force"]) == 0
            time.sleep(0.1)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            path.unlink(missing_ok=True)
