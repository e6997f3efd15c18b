"""Suspend, resume, stop and remove, with a machine that obeys and one that does not."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.world import Lines, World
from vclaw import boot, channel, fsutil, gateway, readiness
from vclaw.claws import lifecycle, record, status
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.process import Process
from vclaw.progress import Silent


def test_a_suspended_claw_goes_on_where_it_stood(world: World) -> None:
    world.run()
    lifecycle.suspend(world.paths, Silent())
    assert status.of(world.paths).status == "suspended"
    assert fsutil.read_json(world.paths.suspended)["suspension"] == "s1"
    lifecycle.resume(world.paths, 10.0, Silent())
    assert status.of(world.paths).status == "ready"
    assert not world.paths.suspended.exists()
    assert world.starts == 1


def test_a_resume_that_was_cut_short_is_ended_by_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    world.run()
    lifecycle.suspend(world.paths, Silent())
    with monkeypatch.context() as patch:
        patch.setattr("vclaw.channel.ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.resume(world.paths, 10.0, Silent())
    asked: list[str] = []
    ask, release = channel.ask, gateway.release
    monkeypatch.setattr(
        "vclaw.channel.ask",
        lambda path, op, *rest, **fields: [asked.append(op), ask(path, op, *rest, **fields)][1],
    )
    monkeypatch.setattr(
        "vclaw.gateway.release", lambda *words: [asked.append(words[2]), release(*words)][1]
    )
    lifecycle.resume(world.paths, 10.0, Silent())
    assert asked[:2] == ["set-clock", "s1"]
    assert not world.paths.suspended.exists()
    assert status.of(world.paths).status == "ready"


def test_a_guest_that_does_not_answer_runs_again_and_resume_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    lifecycle.suspend(world.paths, Silent())
    world.turn("no-agent")
    monkeypatch.setattr("vclaw.readiness.ANSWER_SECONDS", 0.1)
    with pytest.raises(VclawError, match="demo runs again, but its guest does not answer"):
        lifecycle.resume(world.paths, 0.2, Silent())
    assert status.of(world.paths).status == "ready"
    assert world.paths.suspended.exists()


def test_resuming_a_claw_that_boots_waits_until_it_is_ready(world: World) -> None:
    world.turn("not-ready")
    world.run("boot")
    with pytest.raises(VclawError, match="was not ready within"):
        lifecycle.resume(world.paths, 0.3, Silent())


def test_a_machine_that_boots_is_suspended_without_waiting_for_its_gateway(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("boot")
    monkeypatch.setattr("vclaw.gateway.probe", lambda *_: False)
    monkeypatch.setattr("vclaw.gateway.quiesce", lambda *_: pytest.fail("it was asked"))
    lifecycle.suspend(world.paths, Silent())
    assert fsutil.read_json(world.paths.suspended)["suspension"] is None


def test_a_machine_that_is_not_recorded_never_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[Process] = []

    def interrupt(_: object, process: Process) -> None:
        spawned.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(boot, "_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.run("boot")
    assert spawned[0].wait(5.0)
    assert world.starts == 0
    assert boot.last(world.paths) is None


def test_suspending_and_resuming_may_be_repeated(world: World) -> None:
    world.run()
    told = Lines()
    lifecycle.resume(world.paths, 10.0, told)
    assert told.said == ["demo is not suspended"]
    lifecycle.suspend(world.paths, told)
    lifecycle.suspend(world.paths, told)
    assert told.said[1:] == ["demo is suspended already"]


def test_a_claw_without_a_gateway_is_suspended_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("boot")
    monkeypatch.setattr("vclaw.gateway.quiesce", lambda *_: None)
    told = Lines()
    lifecycle.suspend(world.paths, told)
    assert status.of(world.paths).status == "suspended"
    assert "pausing all the same" in told.said[0]


@pytest.mark.parametrize(
    "verb",
    [
        lambda paths: lifecycle.suspend(paths, Silent()),
        lambda paths: lifecycle.resume(paths, 1.0, Silent()),
    ],
    ids=["suspend", "resume"],
)
def test_what_does_not_run_cannot_be_suspended(world: World, verb: Callable[..., None]) -> None:
    with pytest.raises(UsageError, match="demo is not running"):
        verb(world.paths)


@pytest.mark.parametrize("suspended", [False, True])
def test_a_stopped_claw_leaves_no_process_and_starts_again(world: World, suspended: bool) -> None:
    world.run()
    process = boot.current(world.paths)
    assert process is not None
    if suspended:
        lifecycle.suspend(world.paths, Silent())
    lifecycle.stop(world.paths, Silent())
    assert not process.alive
    assert status.of(world.paths).status == "stopped"
    world.run()
    assert status.of(world.paths).status == "ready"


@pytest.mark.parametrize(("force", "told"), [(True, 0), (False, 1)])
def test_a_guest_that_does_not_obey_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, force: bool, told: int
) -> None:
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(lifecycle.channel, "ask", no_answer)
    world.run("boot")
    world.turn("deaf")
    progress = Lines()
    lifecycle.stop(world.paths, progress, force=force)
    assert not boot.is_up(world.paths)
    assert len(progress.said) == told


def no_answer(*_: object, **__: object) -> None:
    raise VclawError("no")


def test_a_guest_without_an_agent_is_stopped_by_its_power_button(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle.channel, "ask", no_answer)
    world.run("boot")
    progress = Lines()
    lifecycle.stop(world.paths, progress)
    assert (progress.said, boot.is_up(world.paths)) == ([], False)


def test_stopping_what_does_not_run_is_fine(world: World) -> None:
    progress = Lines()
    lifecycle.stop(world.paths, progress)
    lifecycle.stop(world.paths, progress)
    assert progress.said == ["demo is not running"] * 2


def test_stopping_an_exited_claw_makes_it_a_stopped_one(world: World) -> None:
    world.run()
    world.kill()
    assert status.of(world.paths).status == "exited"
    lifecycle.stop(world.paths, Silent())
    assert status.of(world.paths).status == "stopped"
    assert status.of(world.paths).last_error == ""


def test_a_removed_claw_leaves_nothing_but_its_workspace(world: World) -> None:
    (world.spec.workspace / "mine").write_text("kept")
    (world.paths.state / "memory").write_text("gone")
    (world.paths.state / "link").symlink_to(world.spec.workspace)
    world.run()
    process = boot.current(world.paths)
    assert process is not None
    lifecycle.remove(world.paths, Silent())
    assert not process.alive
    assert list(world.home.instances.iterdir()) == []
    assert (world.spec.workspace / "mine").read_text() == "kept"


def test_a_broken_claw_can_be_removed(world: World) -> None:
    world.paths.spec.write_bytes(b"\xff")
    world.paths.run.write_bytes(b"\xff")
    lifecycle.remove(world.paths, Silent())
    assert record.names(world.home) == []


def test_the_state_is_moved_where_it_shall_be_kept(world: World, tmp_path: Path) -> None:
    (world.paths.state / "memory").write_text("kept")
    keep = tmp_path / "new" / "state"
    lifecycle.remove(world.paths, Silent(), keep_state=keep)
    assert (keep / "memory").read_text() == "kept"
    assert not world.paths.root.exists()


def test_a_folder_that_is_there_is_not_written_over(world: World, tmp_path: Path) -> None:
    world.run("boot")
    with pytest.raises(UsageError, match="exists already"):
        lifecycle.remove(world.paths, Silent(), keep_state=tmp_path)
    assert boot.is_up(world.paths)


def test_a_removal_that_was_cut_short_after_the_state_was_moved_is_ended(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    (world.paths.state / "memory").write_text("kept")
    with monkeypatch.context() as patch:
        patch.setattr(record, "withdraw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.remove(world.paths, Silent(), keep_state=tmp_path / "kept")
    lifecycle.remove(world.paths, Silent(), keep_state=tmp_path / "kept")
    assert (tmp_path / "kept" / "memory").read_text() == "kept"
    assert record.names(world.home) == []


def test_the_state_is_kept_on_another_file_system_too(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == world.paths.state:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(self, target)

    (world.paths.state / "memory").write_text("kept")
    monkeypatch.setattr(Path, "rename", refuse)
    lifecycle.remove(world.paths, Silent(), keep_state=tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "memory").read_text() == "kept"


def test_state_is_not_kept_behind_a_planted_link(world: World, tmp_path: Path) -> None:
    (world.paths.state / "memory").write_text("kept")
    (world.spec.workspace / "backup").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is a link in the workspace"):
        lifecycle.remove(world.paths, Silent(), keep_state=world.spec.workspace / "backup/state")
    assert (world.paths.state / "memory").read_text() == "kept"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["kept", "state/kept", "../demo/kept"])
def test_the_state_is_not_kept_in_what_is_removed(world: World, where: str) -> None:
    (world.paths.state / "memory").write_text("kept")
    with pytest.raises(UsageError, match="is part of the claw"):
        lifecycle.remove(world.paths, Silent(), keep_state=world.paths.root / where)
    assert (world.paths.state / "memory").read_text() == "kept"


def test_what_an_interrupted_removal_left_is_swept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    other = world.second_claw("other")
    other.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.remove(world.paths, Silent())
    assert record.names(world.home) == ["other"]
    assert len(list(world.home.instances.iterdir())) == 2
    record.sweep(world.home)
    assert [path.name for path in world.home.instances.iterdir()] == ["other"]


VERBS: dict[str, Callable[[World], object]] = {
    "suspend": lambda world: lifecycle.suspend(world.paths, Silent()),
    "resume": lambda world: lifecycle.resume(world.paths, 1.0, Silent()),
    "stop": lambda world: lifecycle.stop(world.paths, Silent()),
    "remove": lambda world: lifecycle.remove(world.paths, Silent(), force=True),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_busy_claw_is_refused_within_a_second(world: World, verb: str) -> None:
    with world.paths.lock.open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)  # another open file: another holder
        start = time.monotonic()
        with pytest.raises(VclawError, match="demo is busy: process 4711"):
            VERBS[verb](world)
        assert time.monotonic() - start < 1
    assert world.paths.spec.exists()


def test_resuming_a_claw_that_does_not_get_ready_names_the_check(world: World) -> None:
    world.run()
    lifecycle.suspend(world.paths, Silent())
    world.turn("not-ready")
    with pytest.raises(VclawError, match="gateway ready"):
        lifecycle.resume(world.paths, 0.1, Silent())
    assert boot.is_up(world.paths)
    assert not readiness.is_ready(world.paths, world.spec.gateway_port)
    assert status.of(world.paths).status == "unhealthy"
