"""What happens to a claw's process, its ports and the clock: ps tells the truth, commands work."""

from __future__ import annotations

import itertools
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
from xml.etree import ElementTree

import pytest

from tests.pipeline.world import World, changed, free_port
from vclaw import boot, fsutil, ports
from vclaw.cli.main import main
from vclaw.hypervisor.process import Process, boot_id
from vclaw.hypervisor.qemu import forwards

PATIENCE = ("--ready-timeout-secs", "10")


@pytest.fixture
def ran(world: World) -> tuple[World, Process]:
    """A ready claw and its process."""
    assert main(["start", "demo", *PATIENCE]) == 0
    process = boot.current(world.paths)
    assert process is not None
    return world, process


def row(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The claw's row of `ps`, which must answer at once whatever hangs."""
    capsys.readouterr()
    began = time.monotonic()
    assert main(["ps", "--json"]) == 0
    assert time.monotonic() - began < 5
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


def hang(process: Process) -> None:
    """Stop a process by a signal, and wait until each of its threads has stopped."""
    os.kill(process.pid, signal.SIGSTOP)
    tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
    deadline = time.monotonic() + 10
    while any((task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_machine_has_exited_and_starts_again(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = ran
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(5)
    assert (row(capsys)["status"], row(capsys)["pid"]) == ("exited", None)
    assert main(["suspend", "demo"]) == 2
    assert main(["start", "demo", *PATIENCE]) == 0
    assert row(capsys)["status"] == "ready"
    assert world.starts == 2


def test_a_machine_that_hangs_is_unhealthy_and_is_ended_by_force(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped by a signal: its sockets still take connections, and nothing answers."""
    _, process = ran
    hang(process)
    try:
        assert row(capsys)["status"] == "unhealthy"
        assert row(capsys)["pid"] == process.pid
        assert main(["inspect", "demo"]) == 0
        began = time.monotonic()
        assert main(["stop", "demo", "--force"]) == 0
        assert time.monotonic() - began < 25
        assert not process.alive
    finally:
        if process.alive:
            os.kill(process.pid, signal.SIGCONT)
    assert row(capsys)["status"] == "stopped"


def test_a_machine_that_hangs_and_goes_on_is_ready_again(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    _, process = ran
    hang(process)
    assert row(capsys)["status"] == "unhealthy"
    os.kill(process.pid, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while row(capsys)["status"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_hypervisor_that_is_replaced_while_it_runs_matters_to_the_next_start_alone(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    """As an upgrade of the package does: the file is another one, and the process goes on."""
    world, process = ran
    program = Path(process.argv[0])
    upgraded = program.with_name("upgraded")
    upgraded.write_bytes(program.read_bytes() + b"\n# a newer version\n")
    upgraded.chmod(0o755)
    upgraded.replace(program)
    assert row(capsys)["status"] == "ready"
    assert main(["start", "demo", *PATIENCE]) == 0
    assert world.starts == 1
    assert main(["stop", "demo"]) == 0
    assert not process.alive
    assert main(["start", "demo", *PATIENCE]) == 0
    assert (row(capsys)["status"], world.starts) == ("ready", 2)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Some other program of this user."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        yield child
        child.kill()


@pytest.mark.parametrize(
    "verb", [("stop", "demo"), ("stop", "demo", "--force"), ("rm", "demo", "--yes")]
)
@pytest.mark.parametrize(
    "started", ["{boot}:1", "11111111-2222-3333-4444-555555555555:{ticks}", ""]
)
def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(
    ran: tuple[World, Process],
    stranger: subprocess.Popen[bytes],
    verb: tuple[str, ...],
    started: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same pid later in this boot of the host, in another boot, or nobody knows when."""
    world, process = ran
    process.end(patience=0.0)
    mark = started.format(boot=boot_id(), ticks=process.started.rpartition(":")[2])
    fsutil.write_json(world.paths.run, {**process.to_json(), "pid": stranger.pid, "started": mark})
    seen = row(capsys)
    assert seen["pid"] is None
    assert seen["status"] in ("exited", "stopped")
    assert main(list(verb)) == 0
    assert stranger.poll() is None


def test_after_a_restart_of_the_host_a_claw_is_stopped_and_starts_with_its_disk(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = ran
    process.end(patience=0.0)
    before = world.effects()
    ended = {**process.to_json(), "started": "11111111-2222-3333-4444-555555555555:12345"}
    fsutil.write_json(world.paths.run, ended)
    assert (row(capsys)["status"], "restarted" in row(capsys)["last_error"]) == ("stopped", True)
    assert main(["start", "demo", *PATIENCE]) == 0
    assert row(capsys)["status"] == "ready"
    assert changed(before, world.effects()) == {"boot", "ready"}


def test_a_port_that_is_taken_before_the_machine_has_it_is_named_and_another_one_chosen(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = world.spec.gateway_port
    with socket.create_server(("127.0.0.1", port)):
        with monkeypatch.context() as patch:
            patch.setattr(ports, "is_free", lambda _: True)  # it was, a moment ago
            assert main(["start", "demo", *PATIENCE]) == 1
        said = capsys.readouterr().err
        assert f"Port {port} of the host was taken" in said
        assert "--port" in said
        assert row(capsys)["pid"] is None
        assert f"Port {port}" in row(capsys)["last_error"]
        assert main(["start", "demo", *PATIENCE]) == 0
    assert f"port {port} is taken" in capsys.readouterr().err
    seen = row(capsys)
    assert (seen["status"], seen["last_error"]) == ("ready", "")
    assert not seen["gateway"].endswith(f":{port}/")


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_nothing_made(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert main(["run", "debian:12", "--name", "new", "--port", str(port)]) == 2
    assert f"Port {port}" in capsys.readouterr().err
    assert not world.home.claw("new").root.exists()


def test_qemus_words_for_a_taken_port_are_understood() -> None:
    """As QEMU 7.2 prints them."""
    said = "Could not set up host forwarding rule 'tcp:127.0.0.1:35493-:18789'"
    assert "Port 35493" in forwards.refused("hostfwd_add", said).message
    assert "no such device" in forwards.refused("hostfwd_add", "no such device").message


YEAR = 365 * 24 * 3600.0


@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forwards", "backwards"])
def test_a_clock_that_jumps_changes_nothing_but_what_is_shown(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    jump: float,
) -> None:
    """At every look the time is another one by a year: waits end, and stages are not repeated."""
    real, calls = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + jump * (next(calls) % 3))
    assert main(["start", "demo", *PATIENCE]) == 0
    assert row(capsys)["status"] == "ready"
    assert main(["timeline", "demo"]) == 0
    table = capsys.readouterr().out
    assert "-" not in [line.split()[4] for line in table.splitlines()[2:]]
    assert main(["timeline", "demo", "--svg", str(tmp_path / "t.svg")]) == 0
    ElementTree.parse(tmp_path / "t.svg")
    before = world.effects()
    for path in (world.paths.root, world.home.images, world.home.runtimes):
        for file in path.rglob("*"):
            if file.is_file():
                os.utime(file, (real() + jump, real() + jump))
    assert main(["suspend", "demo"]) == 0
    assert main(["resume", "demo", *PATIENCE]) == 0
    assert main(["start", "demo", *PATIENCE]) == 0
    assert world.starts == 1
    after = world.effects()
    for stage in ("image", "runtime", "disk", "seed"):
        assert [i and i[0] for i in _ids(after, stage)] == [i and i[0] for i in _ids(before, stage)]
    assert row(capsys)["status"] == "ready"


def _ids(effects: dict[str, Any], stage: str) -> list[tuple[int, int] | None]:
    """(inode, mtime) of what a stage made."""
    return list(effects[stage])
