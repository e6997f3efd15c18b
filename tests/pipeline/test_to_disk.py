"""Suspend to the disk and back, with a stand-in for QEMU that saves and loads as QEMU does."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import asdict
from typing import Any

import pytest

from tests.pipeline.world import Lines, World
from tests.support.command import run_vclaw, show
from vclaw import boot, channel, fsutil
from vclaw.claws import access, glance, inspect, lifecycle, saved, status
from vclaw.errors import UsageError, VclawError
from vclaw.progress import Silent


def memory(world: World) -> str:
    """What the guest has in memory since it booted."""
    return str(channel.ask(world.paths.channel, "status", 5.0)["ram"])


def on_disk(world: World) -> bool:
    """Whether the claw is suspended and nothing of it runs."""
    row = status.of(world.paths)
    return (row.status, row.pid, boot.is_up(world.paths)) == ("suspended", None, False)


def suspend(world: World) -> None:
    lifecycle.suspend_to_disk(world.paths, Silent())


def resume(world: World) -> None:
    lifecycle.resume(world.paths, 10.0, Silent())


def is_as_before(world: World, ram: str) -> bool:
    """Whether the same guest runs with its folders, ready, and nothing is kept of a suspension."""
    report = channel.ask(world.paths.channel, "status", 5.0)
    rests = (world.paths.saved, world.paths.memory, world.paths.suspended)
    return (
        report["ram"] == ram
        and len(report["mounts"]) == 2
        and status.of(world.paths).status in ("ready", "running")
        and not any(path.exists() for path in rests)
    )


def test_a_claw_on_the_disk_has_no_process_and_goes_on_with_its_memory(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    assert on_disk(world)
    assert world.paths.memory.stat().st_mode & 0o777 == 0o600
    resume(world)
    assert is_as_before(world, ram)
    assert world.starts == 2


def test_a_claw_is_saved_and_restored_again_and_again(world: World) -> None:
    world.run()
    ram = memory(world)
    for _ in range(2):
        suspend(world)
        resume(world)
    assert is_as_before(world, ram)
    world.run()  # it is up to date, and no other start was needed
    assert world.starts == 3


def test_a_claw_that_stood_still_in_memory_is_brought_to_the_disk(world: World) -> None:
    world.run()
    ram = memory(world)
    lifecycle.suspend(world.paths, Silent())
    suspend(world)
    assert on_disk(world)
    resume(world)
    assert is_as_before(world, ram)


def test_a_glance_says_of_a_claw_on_the_disk_what_a_long_look_says(world: World) -> None:
    world.run()
    suspend(world)
    assert glance.rows(str(world.home.instances)) == {"demo": asdict(status.of(world.paths))}


def test_suspending_to_the_disk_may_be_repeated(world: World) -> None:
    world.run()
    suspend(world)
    told = Lines()
    lifecycle.suspend_to_disk(world.paths, told)
    lifecycle.suspend(world.paths, told)
    assert told.said == ["demo is suspended to the disk already"] * 2
    assert on_disk(world)


def test_whoever_holds_a_folder_is_named_and_the_claw_is_as_before(world: World) -> None:
    world.run()
    ram = memory(world)
    world.turn("held")
    with pytest.raises(UsageError, match=r"process 77 \(sleep\) uses /workspace/x") as refused:
        suspend(world)
    assert "vclaw suspend demo" in refused.value.hint
    assert is_as_before(world, ram)


def test_a_guest_that_qemu_does_not_save_goes_on(world: World) -> None:
    world.run()
    ram = memory(world)
    world.turn("save-fails")
    with pytest.raises(VclawError, match="could not be saved: VirtFS export path is mounted"):
        suspend(world)
    assert is_as_before(world, ram)


@pytest.mark.parametrize(
    ("knob", "why"),
    [("old-agent", "booted by an older vclaw"), ("booting", "still booting")],
)
def test_a_guest_that_cannot_be_saved_now_is_left_alone(world: World, knob: str, why: str) -> None:
    world.turn(knob)
    world.run("boot")
    with pytest.raises(VclawError, match=why):
        suspend(world)
    assert not world.paths.suspended.exists()
    assert boot.is_up(world.paths)


def test_a_port_that_is_taken_meanwhile_costs_nothing(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.spec.gateway_port))
        other.listen()
        with pytest.raises(VclawError, match=f"{world.spec.gateway_port} of the host was taken"):
            resume(world)
    assert on_disk(world)
    resume(world)
    assert is_as_before(world, ram)


def test_a_state_that_does_not_load_stays_saved(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    world.turn("load-fails")
    with pytest.raises(VclawError, match="could not be loaded: the state is not mine"):
        resume(world)
    assert on_disk(world)
    world.turn("load-fails", on=False)
    resume(world)
    assert is_as_before(world, ram)


def test_starting_a_claw_on_the_disk_is_refused_before_anything_changes(world: World) -> None:
    world.run()
    suspend(world)
    before = world.paths.machine.read_bytes()
    for words in (["start", "demo"], ["run", "--name", "demo", "--memory-mib", "4096"]):
        done = run_vclaw(*words, env=world.env)
        assert done.returncode == 2, show(done)
        assert "`vclaw resume demo` lets it go on" in done.stderr
    with pytest.raises(UsageError, match="demo is suspended to the disk"):
        world.run("boot")
    assert world.paths.machine.read_bytes() == before
    assert on_disk(world)


def test_work_in_a_claw_on_the_disk_is_refused_with_the_way_out(world: World) -> None:
    world.run()
    suspend(world)
    with pytest.raises(UsageError, match="demo is suspended") as refused:
        access.running(world.home, "demo")
    assert "vclaw resume demo" in refused.value.hint


def test_stopping_a_claw_on_the_disk_gives_its_memory_up_and_it_boots_again(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    lifecycle.stop(world.paths, Silent())
    assert status.of(world.paths).status == "stopped"
    assert not world.paths.memory.exists()
    world.run()
    assert memory(world) != ram


def test_memory_of_another_machine_is_not_used_and_a_start_boots_the_disk(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    record: dict[str, Any] = fsutil.read_json(world.paths.saved)
    fsutil.write_json(world.paths.saved, {**record, "fingerprint": "another"})
    with pytest.raises(UsageError, match="QEMU, the processor or the machine is another") as told:
        resume(world)
    assert "vclaw start demo" in told.value.hint
    assert on_disk(world)
    assert any("its saved memory is given up" in line for line in world.run())
    assert status.of(world.paths).status == "ready"
    assert memory(world) != ram
    assert not world.paths.memory.exists()


def test_without_qemu_the_saved_memory_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        for command in (lambda: resume(world), lambda: world.run("boot")):
            with pytest.raises(UsageError, match=r"qemu-system-\S+ is not installed"):
                command()
    assert on_disk(world)
    resume(world)
    assert is_as_before(world, ram)


@pytest.mark.parametrize("damage", [b"\xff", b"{}"])
def test_a_damaged_record_keeps_the_claw_and_says_how_to_boot_it(
    world: World, damage: bytes
) -> None:
    world.run()
    suspend(world)
    world.paths.saved.write_bytes(damage)
    with pytest.raises(UsageError, match="is damaged"):
        resume(world)
    world.run()
    assert status.of(world.paths).status == "ready"


def test_variables_set_meanwhile_are_there_after_the_resume(world: World) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    done = run_vclaw("env", "demo", "set", "COLOUR=blue", env=world.env)
    assert done.returncode == 0, show(done)
    resume(world)
    assert is_as_before(world, ram)
    generation = fsutil.read_json(world.paths.guest)["generation"]
    assert channel.ask(world.paths.channel, "status", 5.0)["applied"] == generation


SAVING = ("save.begun", "save.released", "save.paused", "save.written", "save.noted", "save.ended")


@pytest.mark.parametrize("signame", ["KILL", "TERM"])
@pytest.mark.parametrize("point", SAVING)
def test_a_suspend_that_is_cut_off_leaves_a_guest_that_goes_on(
    world: World, point: str, signame: str
) -> None:
    world.run()
    ram = memory(world)
    cut(world, point, signame, "suspend", "demo", "--to-disk")
    if on_disk_by_record(world):
        assert status.of(world.paths).status == "suspended"
    resume(world)
    assert is_as_before(world, ram)


@pytest.mark.parametrize("signame", ["KILL", "TERM"])
@pytest.mark.parametrize("point", ["restore.loaded", "save.dropped", "restore.running"])
def test_a_resume_that_is_cut_off_is_ended_by_the_next_one(
    world: World, point: str, signame: str
) -> None:
    world.run()
    ram = memory(world)
    suspend(world)
    cut(world, point, signame, "resume", "demo")
    resume(world)
    assert is_as_before(world, ram)


def test_ps_says_of_a_guest_without_its_folders_how_to_go_on(world: World) -> None:
    world.run()
    cut(world, "save.released", "KILL", "suspend", "demo", "--to-disk")
    row = status.of(world.paths)
    assert row.status == "unhealthy"
    assert "`vclaw resume demo` ends it" in row.last_error


def test_a_suspend_that_was_cut_off_is_done_by_the_next_one(world: World) -> None:
    world.run()
    cut(world, "save.noted", "KILL", "suspend", "demo", "--to-disk")
    assert boot.is_up(world.paths)
    suspend(world)
    assert on_disk(world)


def test_memory_serves_once(world: World) -> None:
    """Of a restored guest that is killed nothing is left but its disk."""
    world.run()
    ram = memory(world)
    suspend(world)
    resume(world)
    world.kill()
    assert status.of(world.paths).status == "exited"
    with pytest.raises(UsageError, match="demo is not running"):
        resume(world)
    world.run()
    assert memory(world) != ram


def cut(world: World, point: str, signame: str, *words: str) -> None:
    """Run a command that is sent a signal at a step."""
    env = {**world.env, "VCLAW_CRASH_AT": f"{point}:1:{signame}"}
    done = run_vclaw(*words, env=env)
    assert done.returncode in (-getattr(signal, f"SIG{signame}"), 130), show(done)


def on_disk_by_record(world: World) -> bool:
    return saved.is_there(world.paths)


def test_inspect_tells_of_the_saved_memory(world: World) -> None:
    world.run()
    assert inspect.look(world.home, world.paths)["saved"] is None
    suspend(world)
    facts = inspect.look(world.home, world.paths)
    assert (facts["status"], facts["problems"]) == ("suspended", [])
    assert facts["saved"]["path"] == str(world.paths.memory)
    assert facts["saved"]["of"] == "demo"


def test_ps_prints_a_claw_on_the_disk_without_a_pid(world: World) -> None:
    world.run()
    suspend(world)
    rows = json.loads(run_vclaw("ps", "--json", env=world.env).stdout)
    assert [(row["status"], row["pid"], row["last_error"]) for row in rows] == [
        ("suspended", None, "")
    ]
