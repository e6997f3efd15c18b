"""The maker of templates, with a stand-in for QEMU: what it leaves, whatever comes between.

The wall around the guest that is to be kept would hide the stand-in, so that there is none here.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from tests.pipeline.templates import TemplateWorld, begin
from tests.pipeline.world import Lines, World
from tests.support.killed import killed_at
from vclaw import boot, crashpoints, fsutil
from vclaw.cli.main import main
from vclaw.errors import VclawError
from vclaw.hypervisor.machine import Machine
from vclaw.hypervisor.qemu import Qemu
from vclaw.model import OPEN
from vclaw.templates import builder, clone, recipe, store


@pytest.fixture
def made(world: World, monkeypatch: pytest.MonkeyPatch) -> TemplateWorld:
    """A claw that is to begin from a template which is not there yet."""
    monkeypatch.setenv("VCLAW_TEMPLATE", "yes")
    nobodys = recipe.machine_of

    def without_wall(wanted: recipe.Recipe, share: Path) -> Machine:
        return replace(nobodys(wanted, share), network=OPEN)

    def save(_: Qemu, paths: object, target: IO[bytes], *, memory: bool) -> None:  # noqa: ARG001
        assert not memory
        target.write(b"the devices' state")

    monkeypatch.setattr(recipe, "machine_of", without_wall)
    monkeypatch.setattr(builder, "_check_host", lambda _: None)
    monkeypatch.setattr(builder, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(builder, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(Qemu, "save", save)
    return begin(world)


def ensure(world: TemplateWorld) -> list[str]:
    """Make the world's template; returns what was said."""
    progress = Lines()
    builder.ensure(world.home, world.recipe, progress)
    return progress.said


def scratch(world: TemplateWorld) -> Path:
    """Where the guest lives that is to be kept."""
    return world.home.templates / f".{world.recipe.key}.building"


def test_a_template_is_made_once_and_is_nobodys(made: TemplateWorld) -> None:
    said = ensure(made)
    assert "guest booted" in said[1]
    assert "guest warm" in said[2]
    template = made.template
    assert store.is_whole(template)
    assert (made.starts, made.alive, scratch(made).exists()) == (1, 0, False)
    assert template.device.read_bytes() == b"the devices' state"
    assert template.memory.stat().st_size == 2048 * 2**20
    names = {path.name for path in template.root.iterdir()}
    assert names == {"memory", "device", "disk.img", "disk.json", "template.json"}
    assert ensure(made) == []
    assert made.starts == 1


def test_nobody_can_write_a_template(made: TemplateWorld) -> None:
    ensure(made)
    for path in (made.template.memory, made.template.device, made.template.disk):
        assert path.stat().st_mode & 0o777 == 0o444
        assert path.stat().st_uid == os.geteuid()


def test_its_description_says_what_it_was_made_of(made: TemplateWorld) -> None:
    ensure(made)
    meta = store.load(made.template)
    assert meta is not None
    assert (meta.openclaw, meta.disk_gib) == (made.spec.openclaw_version, 1)
    assert (meta.cpus, meta.memory_mib, meta.accelerator) == (1, 2048, "tcg")
    assert meta.runtime.startswith("sha256:")
    assert meta.seed_bytes == 4 * 2**20
    made.run("seed")
    assert made.paths.seed.stat().st_size == meta.seed_bytes


def test_a_first_claw_makes_the_template_and_begins_from_it(made: TemplateWorld) -> None:
    said = made.run()
    assert any("making a template of" in line for line in said)
    assert (made.starts, made.alive, made.step) == (2, 1, clone.DONE)
    assert made.goes_on
    other = replace(made, spec=made.second_claw("other").spec)
    other.prepare()
    said = other.run()
    assert not any("making a template" in line for line in said)
    assert (other.starts, other.goes_on) == (3, True)


def refuse(*_: object) -> None:
    raise VclawError("Something is missing.", "Install it.")


def test_one_that_cannot_be_made_is_noted_and_not_tried_again_until_it_is_removed(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = made.recipe.key
    with monkeypatch.context() as patch:
        patch.setattr(boot, "launch", refuse)
        assert ensure(made)[1] == "no template: Something is missing. The claw boots by itself."
    assert not scratch(made).exists()
    (again,) = ensure(made)
    assert "could not be made before: Something is missing." in again
    assert f"`vclaw template rm {key}`" in again
    assert made.starts == 0
    capsys.readouterr()
    assert main(["template", "rm", key]) == 0
    ensure(made)
    assert store.is_whole(made.template)


def test_a_claw_without_its_template_boots_by_itself_with_a_disk_of_its_own(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(builder, "_make_memory", refuse)
        made.run()
    assert (made.starts, made.goes_on) == (1, False)
    assert fsutil.read_json(made.paths.disk_meta)["base"] == ""
    assert not made.home.template_failure("x").exists()
    assert made.home.template_failure(made.recipe.key).read_text() == "Something is missing.\n"


def test_a_full_disk_is_noted_in_one_sentence(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(builder, "_place", full)
    assert "No space left on device" in ensure(made)[-1]
    assert (made.alive, scratch(made).exists()) == (0, False)


@pytest.mark.parametrize(
    ("knob", "said"), [("no-agent", "was not ready within"), ("fail", "QEMU ended at once")]
)
def test_a_guest_that_does_not_get_ready_is_ended_and_nothing_of_it_is_kept(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch, knob: str, said: str
) -> None:
    monkeypatch.setattr(builder, "READY_SECONDS", {"tcg": 0.5})
    made.turn(knob)
    assert said in ensure(made)[-1]
    assert (made.starts, made.alive) == (1, 0)
    assert store.keys(made.home) == []
    assert not scratch(made).exists()


def test_a_guest_that_reports_an_error_is_not_kept(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    report: dict[str, Any] = {"applied": "", "error": "warm: no space"}
    monkeypatch.setattr(builder, "_report", lambda _: report)
    assert "could not get ready: warm: no space." in ensure(made)[-1]
    assert made.alive == 0


@pytest.mark.parametrize("point", ["template.booted", "template.saved"])
def test_a_maker_that_is_killed_leaves_no_template_and_the_next_one_makes_it(
    made: TemplateWorld, point: str
) -> None:
    killed_at(point, lambda: ensure(made))
    assert store.listing(made.home) == []
    assert scratch(made).exists()
    ensure(made)
    assert store.is_whole(made.template)
    assert (made.starts, made.alive) == (2, 0), "the first machine has ended as well"
    assert not scratch(made).exists()
    assert not made.home.template_failure(made.recipe.key).exists()


@pytest.mark.parametrize("point", ["template.booted", "template.saved"])
@pytest.mark.parametrize("words", [["ps"], ["template", "ls"], ["prune"]], ids=" ".join)
def test_what_a_killed_maker_left_ends_with_the_next_command(
    made: TemplateWorld, words: list[str], point: str
) -> None:
    killed_at(point, lambda: ensure(made))
    assert made.starts == 1
    assert main(words) == 0
    assert (made.alive, scratch(made).exists()) == (0, False)


@pytest.mark.parametrize("words", [["ps"], ["template", "ls"], ["prune"]], ids=" ".join)
def test_a_maker_at_work_is_left_alone(made: TemplateWorld, words: list[str]) -> None:
    scratch(made).mkdir(parents=True)
    fsutil.make_folder(made.home.locks)
    with store.lock_of(made.home, made.recipe.key).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(words) == 0
    assert scratch(made).exists()


def test_a_maker_that_is_interrupted_leaves_nothing(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(point: str) -> None:
        if point == "template.booted":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crashpoints, "reach", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ensure(made)
    assert (made.alive, scratch(made).exists()) == (0, False)
    assert not made.home.template_failure(made.recipe.key).exists()
    assert list(made.home.templates.iterdir()) == []


def test_a_removal_that_is_killed_leaves_no_template_and_is_made_up_for(
    made: TemplateWorld,
) -> None:
    ensure(made)
    key = made.recipe.key
    killed_at("template.unlisted", lambda: store.remove(made.home, key))
    assert not store.is_whole(made.template)
    assert made.template.disk.exists()
    store.remove(made.home, key)
    assert not made.template.root.exists()


def test_what_a_killed_removal_left_gives_way_to_a_new_template(made: TemplateWorld) -> None:
    ensure(made)
    before = made.template.disk.stat().st_ino
    killed_at("template.unlisted", lambda: store.remove(made.home, made.recipe.key))
    ensure(made)
    assert store.is_whole(made.template)
    assert made.template.disk.stat().st_ino != before


def test_a_damaged_template_is_made_anew(made: TemplateWorld) -> None:
    ensure(made)
    made.template.meta.write_text("{")
    ensure(made)
    assert store.is_whole(made.template)
    assert made.starts == 2


@pytest.mark.parametrize("lost", ["template.json", "memory"])
def test_what_is_left_of_a_damaged_template_stays_under_a_claws_disk(
    made: TemplateWorld, lost: str
) -> None:
    made.run()
    template = made.template
    (template.root / lost).unlink()
    before = template.disk.stat().st_ino
    other = replace(made, spec=made.second_claw("other").spec)
    other.prepare()
    said = [line for line in other.run() if "is damaged, and the disk of demo lies over" in line]
    assert len(said) == 1
    assert template.disk.stat().st_ino == before
    assert fsutil.read_json(other.paths.disk_meta)["base"] == ""
    made.kill()
    made.run()
    assert not made.goes_on, "it boots from its disk, which is as it was"


def test_the_guest_that_is_kept_is_frozen_and_stands_still_before_its_state_is_saved(
    made: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    ask, pause, save, end = builder.channel.ask, Qemu.pause, Qemu.save, Qemu.quit

    def asked(path: Path, op: str, *rest: Any, **more: Any) -> dict[str, Any]:
        done.append(op)
        return ask(path, op, *rest, **more)

    monkeypatch.setattr(builder.channel, "ask", asked)
    for name, real in (("pause", pause), ("save", save), ("quit", end)):

        def step(*words: Any, name: str = name, real: Any = real, **more: Any) -> None:
            done.append(name)
            real(*words, **more)

        monkeypatch.setattr(Qemu, name, step)
    ensure(made)
    assert [word for word in done if word != "status"] == ["freeze", "pause", "save", "quit"]


def test_two_claws_at_once_make_one_template(made: TemplateWorld) -> None:
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                ensure(made)
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    assert store.is_whole(made.template)
    assert made.starts == 1
