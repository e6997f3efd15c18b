"""doit's own command line over dodo.py, next to `vclaw run`."""

from __future__ import annotations

import shutil
from dataclasses import replace

from tests.pipeline.world import World, changed
from vclaw import boot
from vclaw.claws import record


def test_plain_doit_after_a_run_makes_nothing(world: World) -> None:
    world.run()
    before = world.effects()
    done = world.doit("ready:demo")
    assert done.returncode == 0, done.stderr
    # Looking once more whether it is ready is no work; its record may be a new one.
    assert changed(before, world.effects()) <= {"ready"}


def test_a_run_after_plain_doit_makes_nothing(world: World) -> None:
    world.build_runtime()
    done = world.doit("ready:demo")
    assert done.returncode == 0, done.stderr
    assert world.starts == 1
    before = world.effects()
    world.run()
    assert changed(before, world.effects()) <= {"ready"}


def test_plain_doit_skips_what_it_did(world: World) -> None:
    world.build_runtime()
    assert world.doit("disk:demo").returncode == 0
    before = world.effects()
    again = world.doit("disk:demo")
    assert "-- disk:demo" in again.stdout, again.stderr
    assert changed(before, world.effects()) == set()


def test_plain_doit_boots_a_killed_machine_again(world: World) -> None:
    world.run()
    world.kill()
    before = world.effects()
    assert world.doit("ready:demo").returncode == 0
    assert changed(before, world.effects()) == {"boot", "ready"}
    assert boot.is_up(world.paths)


def test_every_stage_is_listed(world: World) -> None:
    listed = world.doit("list", "--all", "--quiet")
    assert listed.returncode == 0, listed.stderr
    names = set(listed.stdout.split())
    stages = {f"{stage}:demo" for stage in ("disk", "seed", "boot", "ready")}
    assert stages | {"image:debian-12", "image:ubuntu-24.04"} <= names
    assert any(name.startswith("runtime:openclaw-") for name in names)


def test_claws_of_one_image_under_two_paths_are_listed(world: World) -> None:
    assert world.spec.image.path is not None
    other = world.second_claw("other")
    twin = world.spec.image.path.with_name("twin.img")
    shutil.copyfile(world.spec.image.path, twin)
    boot.make_folders(other.paths)
    record.save(other.paths, replace(other.spec, image=replace(other.spec.image, path=twin)))
    listed = world.doit("list", "--all", "--quiet")
    assert listed.returncode == 0, listed.stderr
    assert {"disk:demo", "disk:other"} <= set(listed.stdout.split())


def test_a_broken_claw_hides_no_other_stage(world: World) -> None:
    broken = world.home.claw("broken")
    broken.root.mkdir(parents=True)
    broken.spec.write_text("{")
    listed = world.doit("list", "--all", "--quiet")
    assert listed.returncode == 0, listed.stderr
    assert "ready:demo" in listed.stdout


def test_info_shows_what_a_stage_needs_and_makes(world: World) -> None:
    info = world.doit("info", "boot:demo")
    assert str(world.paths.machine) in info.stdout, info.stderr
    assert str(world.paths.run) in info.stdout


def test_a_failing_stage_is_told_without_a_traceback(world: World) -> None:
    world.build_runtime()
    world.turn("fail")
    done = world.doit("ready:demo")
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "QEMU ended at once" in told
    assert "Traceback" not in told


def test_an_unknown_stage_is_told_without_a_traceback(world: World) -> None:
    done = world.doit("ready:nobody")
    assert done.returncode != 0
    assert "ready:nobody" in done.stderr
    assert "Traceback" not in done.stderr
