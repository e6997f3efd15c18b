"""Twins of a claw: what they share with it, and what is their own."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.test_to_disk import cut, is_as_before, memory, on_disk, suspend
from tests.pipeline.world import Lines, World, free_port
from tests.support.command import run_vclaw, show
from vclaw import boot, channel, disk, fsutil, identity
from vclaw.claws import fork, lifecycle, record, status
from vclaw.claws.fork import Wish
from vclaw.errors import UsageError, VclawError
from vclaw.model import PortForward
from vclaw.paths import ClawPaths
from vclaw.progress import Silent


def twin(world: World, wish: Wish | None = None) -> ClawPaths:
    """The first twin, which has begun."""
    made = fork.fork(world.home, world.paths, wish or Wish(), Silent())
    for paths in made:
        fork.start(world.home, paths, Silent())
    return made[0]


def ram(paths: ClawPaths) -> str:
    return str(channel.ask(paths.channel, "status", 5.0)["ram"])


def test_a_running_claws_twin_has_its_memory_and_both_run(world: World) -> None:
    world.run()
    before = memory(world)
    other = twin(world)
    assert other.root.name == "demo-2"
    assert ram(other) == before
    assert is_as_before(world, before)
    assert [status.of(paths).status for paths in (world.paths, other)] == ["ready", "ready"]
    assert not any(path.exists() for path in (other.saved, other.memory, other.suspended))


def test_a_twin_has_an_identity_and_ports_of_its_own(world: World) -> None:
    world.prepare(COLOUR="blue")
    world.run()
    other = twin(world)
    mine, its = identity.load(world.paths), identity.load(other)
    for field in ("token", "host_private", "host_public", "client_public", "machine_id"):
        assert getattr(mine, field) != getattr(its, field), field
    assert its.env == mine.env == {"COLOUR": "blue"}
    assert len(its.machine_id) == 32
    guest = fsutil.read_json(other.guest)
    assert (guest["hostname"], guest["machine_id"]) == ("demo-2", its.machine_id)
    assert guest["token"] == its.token
    assert other.known_hosts.read_text().startswith("vclaw-demo-2 ")
    ports = [{item.host for item in record.load(paths).forwards} for paths in (world.paths, other)]
    assert not ports[0] & ports[1]


def test_a_twin_keeps_its_machine_id_through_a_stop_and_a_start(world: World) -> None:
    world.run()
    other = twin(world)
    wanted = identity.load(other).machine_id
    lifecycle.stop(other, Silent())
    fork.start(world.home, other, Silent())
    assert fsutil.read_json(other.guest)["machine_id"] == wanted


def test_published_ports_move_to_the_next_free_ones_and_it_is_said(world: World) -> None:
    port = free_port()
    spec = replace(world.spec, publish=(PortForward(port, 80),))
    record.save(world.paths, spec)
    told = Lines()
    others = [spec]
    moved = fork.with_ports(replace(spec, name="x", ssh_port=0), others, told)
    assert moved.publish[0].guest == 80
    assert moved.publish[0].host > port
    assert f"x: 127.0.0.1:{moved.publish[0].host} leads to its port 80" in told.said


def test_the_state_is_a_copy_whose_links_are_not_followed(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    (world.paths.state / "sub").mkdir()
    (world.paths.state / "sub" / "memory").write_text("what it knows")
    (world.paths.state / "link").symlink_to(secret)
    (world.paths.state / "folder").symlink_to(tmp_path)
    os.mkfifo(world.paths.state / "pipe")
    (world.paths.state / "sub" / "memory").chmod(0o640)
    if os.geteuid() == 0:
        for path in (world.paths.state, world.paths.state / "sub" / "memory"):
            os.chown(path, 1234, 1235)
    world.run()
    other = twin(world)
    copied = other.state / "sub" / "memory"
    was = (world.paths.state / "sub" / "memory").stat()
    assert copied.read_text() == "what it knows"
    assert (copied.stat().st_uid, copied.stat().st_gid) == (was.st_uid, was.st_gid)
    assert copied.stat().st_mode == was.st_mode
    assert (other.state / "link").readlink() == secret
    assert (other.state / "folder").is_symlink()
    assert not os.path.lexists(other.state / "pipe")
    copied.write_text("its own")
    assert (world.paths.state / "sub" / "memory").read_text() == "what it knows"


def test_the_disk_is_an_independent_copy(world: World) -> None:
    world.run("boot")
    world.kill()
    with world.paths.disk.open("r+b") as file:
        file.write(b"changed by the guest")
    other = fork.fork(world.home, world.paths, Wish(), Silent())[0]
    assert other.disk.read_bytes() == world.paths.disk.read_bytes()
    assert other.disk.stat().st_ino != world.paths.disk.stat().st_ino
    assert disk.load(other.disk_meta) == replace(
        disk.load(world.paths.disk_meta) or pytest.fail("no disk"), unsynced=""
    )


def test_a_stopped_claws_twin_boots_the_copied_disk(world: World) -> None:
    world.run()
    before = memory(world)
    lifecycle.stop(world.paths, Silent())
    other = twin(world)
    assert boot.is_up(other)
    assert ram(other) != before
    assert status.of(world.paths).status == "stopped"
    assert len(fsutil.read_json(other.guest)["machine_id"]) == 32


def test_a_claw_on_the_disk_stays_there_and_its_twin_goes_on(world: World) -> None:
    world.run()
    before = memory(world)
    suspend(world)
    other = twin(world)
    assert ram(other) == before
    assert on_disk(world)
    lifecycle.resume(world.paths, 10.0, Silent())
    assert is_as_before(world, before)


def test_several_twins_are_numbered(world: World) -> None:
    world.run()
    before = memory(world)
    twin(world, Wish(count=2, name="try"))
    names = ["try-1", "try-2"]
    assert record.names(world.home) == ["demo", *names]
    assert {ram(world.home.claw(name)) for name in names} == {before}
    assert len({identity.load(world.home.claw(name)).machine_id for name in names}) == 2


def test_names_are_the_next_free_ones(world: World) -> None:
    world.run("boot")
    world.home.claw("demo-2").root.mkdir()
    assert fork.names(world.home, "demo", Wish(count=2)) == ["demo-3", "demo-4"]
    long = "a" * 40
    assert fork.names(world.home, long, Wish()) == ["a" * 38 + "-2"]
    with pytest.raises(UsageError, match="There is a claw demo already"):
        fork.names(world.home, "demo", Wish(name="demo"))
    with pytest.raises(UsageError, match="cannot be used"):
        fork.names(world.home, "demo", Wish(name="No Name"))


def test_a_twin_works_in_the_folder_that_is_named(world: World, tmp_path: Path) -> None:
    world.run("boot")
    world.kill()
    other = fork.fork(world.home, world.paths, Wish(workspace=str(tmp_path)), Silent())[0]
    assert record.load(other).workspace == tmp_path.resolve()
    shares = {share.tag: share.path for share in boot.machine(other).shares}
    assert shares == {"workspace": tmp_path.resolve(), "state": other.state}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_else_is_refused(world: World, tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 4321)
    with pytest.raises(UsageError, match="belongs to uid 4321"):
        fork.fork(world.home, world.paths, Wish(workspace=str(tmp_path)), Silent())


def test_a_claw_without_a_disk_has_no_twin(world: World) -> None:
    with pytest.raises(UsageError, match="demo has no disk yet"):
        fork.fork(world.home, world.paths, Wish(), Silent())
    assert record.names(world.home) == ["demo"]


def test_a_fork_that_fails_leaves_no_twin_and_the_claw_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    before = memory(world)

    def fail(*_: object) -> None:
        raise VclawError("The disk is full.")

    monkeypatch.setattr(fork, "_describe", fail)
    with pytest.raises(VclawError, match="The disk is full"):
        fork.fork(world.home, world.paths, Wish(count=2), Silent())
    assert record.names(world.home) == ["demo"]
    assert is_as_before(world, before)


@pytest.mark.parametrize("signame", ["KILL", "TERM"])
@pytest.mark.parametrize("point", ["save.noted", "fork.copied", "fork.described"])
def test_a_fork_that_is_cut_off_costs_the_claw_nothing(
    world: World, point: str, signame: str
) -> None:
    world.run()
    before = memory(world)
    cut(world, point, signame, "fork", "demo", "--no-wait")
    lifecycle.resume(world.paths, 10.0, Silent())
    assert is_as_before(world, before)
    again = run_vclaw("fork", "demo", "--json", env=world.env)
    assert again.returncode == 0, show(again)
    made = json.loads(again.stdout)[0]
    assert made["status"] == "ready"
    assert ram(world.home.claw(made["clawid"])) == before


@pytest.mark.parametrize("words", [("--count", "0"), ("--count", "x"), ("--name", "A B")])
def test_what_cannot_be_forked_is_refused_before_anything_is_made(
    world: World, words: tuple[str, ...]
) -> None:
    done = run_vclaw("fork", "demo", *words, env=world.env)
    assert done.returncode == 2, show(done)
    assert record.names(world.home) == ["demo"]
