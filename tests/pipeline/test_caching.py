"""What each run of the pipeline makes, and what it leaves as it is."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.pipeline.world import STAGES, World, changed
from vclaw import boot, disk, fsutil, readiness, runtime, seed
from vclaw.errors import UsageError, VclawError


def up_to_date(world: World, *stages: str) -> list[str]:
    """What is said of stages that are skipped."""
    key = runtime.key(world.spec.openclaw_version, world.spec.image.arch)
    names = {"image": world.spec.image.key.replace("_", "-"), "runtime": key}
    return [f"{stage}:{names.get(stage, world.spec.name)}: up to date" for stage in stages]


def test_the_first_run_makes_everything_once(world: World) -> None:
    nothing = world.effects()
    world.run()
    assert changed(nothing, world.effects()) == set(STAGES)
    assert world.starts == 1
    assert world.paths.disk.stat().st_size == 2**30
    assert fsutil.read_json(world.paths.ready)["steps"][0]["name"] == "hostname"


def test_the_second_run_does_nothing_and_says_so(world: World) -> None:
    world.run()
    before = world.effects()
    said = world.run()
    assert changed(before, world.effects()) == set()
    assert sorted(said) == sorted(up_to_date(world, *STAGES))


def test_a_stage_that_is_asked_for_again_says_that_it_is_up_to_date(world: World) -> None:
    world.run("disk")
    before = world.effects()
    assert world.run("disk") == up_to_date(world, "image", "disk")
    assert changed(before, world.effects()) == set()


def test_a_killed_machine_is_booted_again_and_nothing_else(world: World) -> None:
    world.run()
    before = world.effects()
    world.kill()
    said = world.run()
    assert changed(before, world.effects()) == {"boot", "ready"}
    assert set(up_to_date(world, "runtime", "disk", "seed")) <= set(said)


def test_a_gateway_that_fell_silent_is_waited_for_without_a_boot(world: World) -> None:
    world.run()
    before = world.effects()
    world.turn("not-ready")
    with pytest.raises(VclawError, match="gateway ready"):
        world.run(timeout=0.1)
    world.turn("not-ready", on=False)
    world.run()
    assert changed(before, world.effects()) == {"ready"}


def test_changed_settings_of_the_guest_make_the_seed_and_a_boot(world: World) -> None:
    world.run()
    before = world.effects()
    world.kill()
    world.prepare(COLOUR="red")
    world.run()
    assert changed(before, world.effects()) == {"seed", "boot", "ready"}


def test_no_secret_is_in_the_machines_command_line(world: World) -> None:
    world.prepare(API_KEY="my-secret")
    world.run()
    process = boot.current(world.paths)
    assert process is not None
    words = "\n".join(process.argv)
    token = fsutil.read_json(world.paths.secrets)["token"]
    assert "my-secret" not in words
    assert token not in words
    assert fsutil.read_json(world.paths.guest)["env"] == {"API_KEY": "my-secret"}


def test_files_written_again_with_the_same_content_change_nothing(world: World) -> None:
    world.run()
    before = world.effects()
    world.prepare()
    world.run()
    assert changed(before, world.effects()) == set()


def test_a_running_claw_refuses_another_machine_and_keeps_running(world: World) -> None:
    world.run()
    machine = fsutil.read_json(world.paths.machine)
    fsutil.write_json(world.paths.machine, {**machine, "memory_mib": 4096})
    with pytest.raises(UsageError, match="demo is running with other settings"):
        world.run()
    assert world.starts == 1
    assert boot.is_up(world.paths)


def test_a_claw_with_its_disk_needs_its_image_no_more(world: World) -> None:
    world.run("disk")
    shutil.rmtree(world.home.images)
    assert world.spec.image.path is not None
    world.spec.image.path.unlink()
    world.run()
    assert not world.home.images.exists()
    assert boot.is_up(world.paths)


@pytest.mark.parametrize("when", ["before the first boot", "while it runs", "after a stop"])
def test_a_restored_cache_is_used_whatever_its_mtimes_are(world: World, when: str) -> None:
    world.run("disk" if when == "before the first boot" else "ready")
    if when == "after a stop":
        world.kill()
    touch_all(world)
    before = world.effects()
    world.run()
    made = {"before the first boot": {"runtime", "seed", "boot", "ready"}, "while it runs": set()}
    assert changed(before, world.effects()) == made.get(when, {"boot", "ready"})


def touch_all(world: World) -> None:
    for folder in (world.home.images, world.home.runtimes):
        for path in folder.rglob("*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))


def test_a_new_claw_uses_a_restored_cache(world: World) -> None:
    world.run("boot")
    touch_all(world)
    before = world.effects()
    other = world.second_claw("other")
    other.prepare()
    said = other.run()
    after = world.effects()
    assert (after["image"], after["runtime"]) == (before["image"], before["runtime"])
    assert world.starts == 2
    assert set(up_to_date(other, "image", "runtime")) <= set(said)


def test_two_claws_share_nothing_but_the_cache(world: World) -> None:
    other = world.second_claw("other")
    other.prepare()
    world.run()
    other.run()
    world.kill()
    assert boot.is_up(other.paths)
    assert readiness.is_ready(other.paths, other.spec.gateway_port)
    assert not readiness.is_ready(world.paths, world.spec.gateway_port)


@pytest.mark.parametrize(
    ("interrupted", "kept"),
    [
        ("vclaw.seed.write_iso", set()),
        ("vclaw.hypervisor.qemu.Qemu.state", {"image", "runtime", "disk", "seed", "boot"}),
        ("vclaw.readiness.guest_report", {"image", "runtime", "disk", "seed", "boot"}),
    ],
)
def test_what_was_made_before_an_interruption_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, interrupted: str, kept: set[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    nothing = world.effects()
    with monkeypatch.context() as patch:
        patch.setattr(interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            world.run()
    before = world.effects()
    made = changed(nothing, before)
    assert made >= kept
    world.run()
    assert changed(before, world.effects()) == set(STAGES) - made


@pytest.mark.parametrize("interrupted", ["vclaw.hypervisor.qemu.Qemu.state", "vclaw.disk.settle"])
def test_a_disk_that_a_guest_uses_is_never_taken_for_a_fresh_copy(
    world: World, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            world.run()
    if interrupted.endswith("settle"):
        world.run()
    before = world.effects()
    world.kill()
    # A copy that was not written out is made again after the host has been restarted.
    monkeypatch.setattr(disk, "boot_id", lambda: "the next boot")
    world.run()
    assert changed(before, world.effects()) == {"boot", "ready"}


def test_an_interrupted_copy_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_grow", interrupt)
        with pytest.raises(KeyboardInterrupt):
            world.run("disk")
    assert not world.paths.disk.exists()
    world.run("disk")
    assert world.paths.disk.stat().st_size == 2**30


def test_an_error_of_an_action_arrives_as_it_was_raised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UsageError("It is raining.", "Take an umbrella.")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(seed, "write_iso", fail)
    with pytest.raises(UsageError) as caught:
        world.run()
    assert caught.value is error


def test_an_error_of_the_system_arrives_without_a_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "/some/where")

    monkeypatch.setattr(seed, "write_iso", fail)
    with pytest.raises(VclawError) as caught:
        world.run()
    assert caught.value.message == "/some/where: No space left on device."
    assert "Traceback" not in caught.value.hint


def test_a_stage_without_its_input_fails_with_a_reason(world: World) -> None:
    world.paths.guest.unlink()
    with pytest.raises(VclawError, match=r"guest\.json"):
        world.run()


def test_a_machine_that_cannot_start_shows_its_own_words(world: World) -> None:
    world.turn("fail")
    with pytest.raises(VclawError, match="exit status 3") as caught:
        world.run()
    assert "fake: cannot start" in caught.value.hint
    world.turn("fail", on=False)
    world.run()
    assert world.starts == 2


def test_a_wait_that_is_over_names_the_check_and_keeps_the_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "guest_report", lambda _: None)
    with pytest.raises(VclawError, match="guest booted") as caught:
        world.run(timeout=0.1)
    assert "fake: a guest's console" in caught.value.hint
    assert boot.is_up(world.paths)
    assert not world.paths.ready.exists()
