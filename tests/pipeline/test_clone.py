"""A claw that begins from a template: what it is given, what comes after, and what may fail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.pipeline.templates import PATIENCE, TemplateWorld, begin, plant_for
from tests.pipeline.world import World, changed, free_port
from vclaw import boot, channel, disk, fsutil, ports, prune, wake
from vclaw.claws import lifecycle, status
from vclaw.cli.main import main
from vclaw.errors import UsageError
from vclaw.progress import Silent
from vclaw.templates import clone, store


@pytest.fixture
def cloned(world: World, monkeypatch: pytest.MonkeyPatch) -> TemplateWorld:
    """A claw that has not begun, and the template that fits it."""
    monkeypatch.setenv("VCLAW_TEMPLATE", "yes")
    made = begin(world)
    plant_for(made)
    return made


def test_a_claw_goes_on_from_the_saved_guest(cloned: TemplateWorld) -> None:
    said = cloned.run()
    assert (cloned.starts, cloned.step) == (1, clone.DONE)
    assert cloned.goes_on
    assert cloned.incoming == {
        "state": cloned.template.device.read_text(),
        "memory": hashlib.sha256(cloned.template.memory.read_bytes()[: 2**20]).hexdigest(),
    }
    made = disk.load(cloned.paths.disk_meta)
    assert made is not None
    assert made.base == str(cloned.template.root)
    assert cloned.paths.disk.stat().st_size < 2**20
    assert status.of(cloned.paths).status == "ready"
    assert not [line for line in said if "does not serve" in line]


def test_the_same_run_again_does_nothing(cloned: TemplateWorld) -> None:
    cloned.run()
    before = cloned.effects()
    assert set(cloned.run()) >= {f"{stage}:demo: up to date" for stage in ("disk", "boot", "ready")}
    assert changed(before, cloned.effects()) == set()
    assert main(["start", "demo", *PATIENCE]) == 0
    assert changed(before, cloned.effects()) <= {"ready"}


def test_a_claw_over_a_template_needs_no_image(cloned: TemplateWorld) -> None:
    cloned.run("disk")
    shutil.rmtree(cloned.home.image(cloned.spec.image).root)
    before = cloned.starts
    cloned.run()
    assert (cloned.starts, cloned.goes_on) == (before + 1, True)
    assert not cloned.home.image(cloned.spec.image).root.exists()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_claw_that_has_begun_boots_from_its_disk_the_next_time(
    cloned: TemplateWorld, end: str
) -> None:
    cloned.run()
    before = cloned.effects()
    assert main(["stop", "demo", "--force"]) == 0 if end == "stop" else cloned.kill() is None
    cloned.run()
    assert (cloned.starts, cloned.step) == (2, "")
    assert not cloned.goes_on
    assert changed(before, cloned.effects()) == {"boot", "ready"}


def test_a_changed_port_at_the_next_start_boots_from_the_disk(cloned: TemplateWorld) -> None:
    assert main(["start", "demo", *PATIENCE]) == 0
    assert main(["stop", "demo"]) == 0
    assert cloned.step == ""
    port = free_port()
    words = ["run", str(cloned.spec.image.path), "--name", "demo", "--port", str(port)]
    words += [f"--workspace={cloned.spec.workspace}"]
    assert main([*words, *PATIENCE]) == 0
    assert (cloned.starts, cloned.goes_on) == (2, False)
    assert status.of(cloned.paths).gateway.endswith(f":{port}/")


def test_a_port_that_is_added_leaves_a_clone_running(cloned: TemplateWorld) -> None:
    assert main(["start", "demo", *PATIENCE]) == 0
    assert main(["port", "add", "demo", f"{free_port()}:80"]) == 0
    assert main(["start", "demo", *PATIENCE]) == 0
    assert (cloned.starts, cloned.alive, cloned.step) == (1, 1, clone.DONE)


def test_a_suspended_clone_goes_on(cloned: TemplateWorld) -> None:
    cloned.run()
    lifecycle.suspend(cloned.paths, Silent())
    assert status.of(cloned.paths).status == "suspended"
    lifecycle.resume(cloned.paths, 10.0, Silent())
    assert status.of(cloned.paths).status == "ready"
    assert cloned.starts == 1


@pytest.mark.parametrize("knob", ["load-ends", "load-fails", "not-introduced"])
def test_a_guest_that_cannot_go_on_is_booted_on_the_same_disk_and_it_is_said_why(
    cloned: TemplateWorld, monkeypatch: pytest.MonkeyPatch, knob: str
) -> None:
    monkeypatch.setattr(clone, "INTRODUCE_SECONDS", 0.2)
    monkeypatch.setattr(wake, "ANSWER_SECONDS", 0.1)
    cloned.run("disk")
    before = cloned.effects()
    cloned.turn(knob)
    said = [line for line in cloned.run() if "the template does not serve" in line]
    assert len(said) == 1
    assert said[0].endswith("The claw boots by itself.")
    if knob == "load-fails":
        assert "could not be loaded: the state is not mine." in said[0]
    assert (cloned.starts, cloned.alive, cloned.step) == (2, 1, "")
    assert not cloned.goes_on
    assert changed(before, cloned.effects()) == {"seed", "boot", "ready"}


@pytest.mark.parametrize("part", ["seed", "runtime", "memory", "hypervisor"])
def test_a_template_that_does_not_fit_any_more_is_told_and_the_claw_boots_by_itself(
    cloned: TemplateWorld, part: str
) -> None:
    cloned.run("disk")
    cloned.run("seed")
    meta = fsutil.read_json(cloned.template.meta)
    if part == "memory":
        cloned.template.memory.unlink()
    else:
        other = {"seed": {"seed_bytes": 2**23}, "runtime": {"runtime": "sha256:x"}}
        change = other.get(part, {"fingerprint": "x"})
        fsutil.write_json(cloned.template.meta, {**meta, **change})
    said = [line for line in cloned.run() if "the template does not serve" in line]
    assert len(said) == 1
    assert (cloned.starts, cloned.goes_on, cloned.incoming) == (1, False, None)


def test_a_taken_port_is_no_fault_of_the_template_and_the_next_start_goes_on(
    cloned: TemplateWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = cloned.spec.gateway_port
    with socket.create_server(("127.0.0.1", port)), monkeypatch.context() as patch:
        patch.setattr(ports, "is_free", lambda _: True)  # it was, a moment ago
        assert main(["start", "demo", *PATIENCE]) == 1
    said = capsys.readouterr().err
    assert f"Port {port} of the host was taken" in said
    assert "does not serve" not in said
    assert (cloned.starts, cloned.alive, cloned.step) == (1, 0, clone.FRESH)
    assert main(["start", "demo", *PATIENCE]) == 0
    assert (cloned.goes_on, cloned.step) == (True, clone.DONE)


def test_two_claws_map_one_memory(cloned: TemplateWorld) -> None:
    cloned.run()
    other = cloned.second_claw("other")
    other.prepare()
    other.run()
    inodes = {fsutil.read_json(claw.paths.clone)["memory"] for claw in (cloned, other)}
    assert len(inodes) == 1
    for claw in (cloned, other):
        process = boot.current(claw.paths)
        assert process is not None
        fds = Path(f"/proc/{process.pid}/fd").iterdir()
        held = {fd.stat().st_ino for fd in fds if "memfd:" in str(fd.readlink())}
        assert held == inodes


def test_the_template_of_a_claw_stays_until_the_claw_is_gone(
    cloned: TemplateWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned.run()
    template = cloned.template
    assert main(["template", "rm", template.root.name]) == 2
    assert "the disk of demo lies over it" in capsys.readouterr().err
    assert "template" not in {item.kind for item in prune.prune(cloned.home, dry_run=False)[0]}
    assert store.is_whole(template)
    assert main(["rm", "demo", "--yes", "--force"]) == 0
    went = {item.kind for item in prune.prune(cloned.home, dry_run=False)[0]}
    assert "template" in went
    assert not template.root.exists()


def test_a_claw_without_a_template_has_a_disk_of_its_own_and_can_have_no_other(
    cloned: TemplateWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(cloned.spec.image.path), f"--workspace={cloned.spec.workspace}"]
    words += ["--disk-gib=1", "--cpus=1", "--memory-mib=2048", *PATIENCE]
    assert main([*words, "--name=own", "--no-template"]) == 0
    own = cloned.home.claw("own")
    assert fsutil.read_json(own.spec)["template"] is False
    made = disk.load(own.disk_meta)
    assert made is not None
    assert made.base == ""
    assert main([*words, "--name=own"]) == 0
    assert main([*words, "--name=over"]) == 0
    capsys.readouterr()
    assert main([*words, "--name=over", "--no-template"]) == 2
    assert "its disk is one over a template's, not one of its own" in capsys.readouterr().err
    for name in ("own", "over"):
        assert main(["rm", name, "--yes", "--force"]) == 0


def test_inspect_shows_over_which_template_the_disk_lies(
    cloned: TemplateWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned.run()
    capsys.readouterr()
    assert main(["inspect", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["disk"]["base"] == str(cloned.template.root)


@pytest.mark.parametrize("reach", ["suspend", "resume"])
@pytest.mark.parametrize("step", [clone.FRESH, clone.BEGUN])
def test_a_guest_that_is_nobodys_is_neither_suspended_nor_resumed(
    cloned: TemplateWorld, reach: str, step: str
) -> None:
    cloned.run()
    clone.mark(cloned.paths, step)
    with pytest.raises(UsageError, match="its start was cut off"):
        if reach == "suspend":
            lifecycle.suspend(cloned.paths, Silent())
        else:
            lifecycle.resume(cloned.paths, 1.0, Silent())


def test_a_guest_that_is_nobodys_is_ended_and_not_asked_to_stop(
    cloned: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A saved guest that ran for a moment would leave a disk that it cannot go on with."""
    cloned.run()
    process = boot.current(cloned.paths)
    assert process is not None
    clone.mark(cloned.paths, clone.FRESH)
    asked: list[str] = []
    monkeypatch.setattr(channel, "ask", lambda *words, **_: asked.append(words[1]))
    lifecycle.stop(cloned.paths, Silent())
    assert not process.alive
    assert asked == []
    assert cloned.step == clone.FRESH


def test_a_run_does_not_take_a_guest_that_is_nobodys_for_the_claws(cloned: TemplateWorld) -> None:
    cloned.run()
    clone.mark(cloned.paths, clone.BEGUN)
    assert not boot.is_reachable(cloned.paths)
    cloned.run()
    assert (cloned.starts, cloned.alive, cloned.goes_on) == (2, 1, False)


def test_a_host_without_room_for_the_memory_boots_the_claw_by_itself(
    cloned: TemplateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "sendfile", refuse)
    said = [line for line in cloned.run() if "this host has too little memory" in line]
    assert len(said) == 1
    assert (cloned.starts, cloned.goes_on) == (1, False)
