"""What is said of a claw, for every state of the world."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.pipeline.world import World
from vclaw import boot, fsutil, gateway, hypervisor
from vclaw.claws import status
from vclaw.errors import VclawError
from vclaw.hypervisor.process import Process, start_mark


def of(world: World) -> tuple[str, str]:
    seen = status.of(world.paths)
    return seen.status, seen.last_error


def test_a_claw_that_never_ran_is_stopped(world: World) -> None:
    seen = status.of(world.paths)
    assert (seen.status, seen.pid, seen.last_error) == ("stopped", None, "")
    assert seen.image == str(world.spec.image.path)
    assert seen.gateway == f"http://127.0.0.1:{world.spec.gateway_port}/"
    assert len(seen.updated) == len("2026-01-31 12:00:00")


def test_a_claw_whose_process_ended_by_itself_is_exited(world: World) -> None:
    world.run("boot")
    world.kill()
    state, reason = of(world)
    assert state == "exited"
    assert "ended by itself" in reason


def test_a_claw_of_an_earlier_boot_of_the_host_is_stopped(world: World) -> None:
    fsutil.write_json(world.paths.run, Process(1, "another-boot:5", ("qemu",)).to_json())
    state, reason = of(world)
    assert state == "stopped"
    assert "host was restarted" in reason


def test_a_claw_that_could_not_start_shows_why(world: World) -> None:
    world.turn("fail")
    with pytest.raises(VclawError) as caught:
        world.run()
    status.record_error(world.paths, caught.value)
    assert of(world) == ("exited", "QEMU ended at once with exit status 3.")


def test_a_process_that_ended_before_it_was_seen_is_exited(world: World) -> None:
    fsutil.write_json(world.paths.run, Process(1, "", ("qemu",)).to_json())
    assert of(world)[0] == "exited"


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"pid": "x"}', b'{"pid": 1}'])
def test_a_damaged_run_record_is_a_stopped_claw(world: World, content: bytes) -> None:
    world.paths.run.write_bytes(content)
    assert of(world) == ("stopped", "")


def test_a_claw_whose_gateway_says_so_is_ready(world: World) -> None:
    world.run()
    process = boot.current(world.paths)
    assert process is not None
    assert of(world) == ("ready", "")
    assert status.of(world.paths).pid == process.pid


def test_a_claw_that_answers_and_was_not_ready_yet_is_running(world: World) -> None:
    world.turn("not-ready")
    world.run("boot")
    assert of(world) == ("running", "")


def test_several_running_claws_are_asked_side_by_side(world: World) -> None:
    other = world.second_claw("other")
    other.prepare()
    third = world.second_claw("third")
    third.prepare()
    world.run()
    other.run()
    seen = [(claw.name, claw.status) for claw in status.all_of(world.home)]
    assert seen == [("demo", "ready"), ("other", "ready"), ("third", "stopped")]


class Frozen:
    """A hypervisor that says one thing."""

    def __init__(self, state: str) -> None:
        self._state = state

    def state(self, _paths: object) -> str:
        return self._state


@pytest.fixture
def alive(world: World) -> Iterator[World]:
    """A claw whose process lives, behind whose ports nothing listens."""
    child = subprocess.Popen(["sleep", "60"])
    process = Process(child.pid, start_mark(child.pid), ("qemu",))
    fsutil.write_json(world.paths.run, process.to_json())
    yield world
    child.kill()
    child.wait()


@pytest.mark.parametrize(
    ("state", "was_ready", "error", "expected"),
    [
        ("running", False, "", ("booting", "")),
        ("running", True, "", ("unhealthy", "OpenClaw was ready and does not answer now.")),
        ("running", False, "It took too long.", ("unhealthy", "It took too long.")),
        ("running", True, "It fell over.", ("unhealthy", "It fell over.")),
        ("paused", True, "", ("suspended", "")),
        ("paused", False, "", ("suspended", "")),
        ("unknown", True, "", ("unhealthy", "QEMU's state is unknown.")),
        ("internal-error", False, "", ("unhealthy", "QEMU's state is internal-error.")),
    ],
)
def test_the_status_follows_from_what_is_true(
    alive: World,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    was_ready: bool,
    error: str,
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(hypervisor, "current", lambda: Frozen(state))
    if was_ready:
        fsutil.write_json(alive.paths.ready, {"schema": 1})
    if error:
        status.record_error(alive.paths, VclawError(error))
    assert of(alive) == expected


def test_a_gateway_that_was_ready_and_is_silent_now_is_not_called_unhealthy(
    alive: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypervisor, "current", lambda: Frozen("running"))
    fsutil.write_json(alive.paths.ready, {"schema": 1})
    with socket.create_server(("127.0.0.1", alive.spec.gateway_port)):
        assert of(alive) == ("running", "OpenClaw was ready and did not answer within 0.4 s.")


@pytest.mark.parametrize("live", [True, False])
def test_a_suspended_claw_is_not_asked_whether_it_is_ready(
    alive: World, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setattr(hypervisor, "current", lambda: Frozen("paused"))
    asked: list[object] = []

    def probe(*words: object) -> bool:
        asked.append(words)
        return live

    monkeypatch.setattr(gateway, "probe", probe)
    assert of(alive) == ("suspended", "")
    assert asked == []


def test_no_error_is_kept_for_a_claw_that_is_gone(world: World) -> None:
    gone = world.home.claw("gone")
    status.record_error(gone, VclawError("x"))
    assert not gone.root.exists()
