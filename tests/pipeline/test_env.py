"""`vclaw env`: a claw's variables, changed while it runs or not, and kept from everybody else."""

from __future__ import annotations

import json
import stat

import pytest

from tests.pipeline.test_commands import vclaw, words
from tests.pipeline.world import World, changed
from tests.support.command import run_vclaw, show
from vclaw import boot, fsutil, identity, lock, readiness
from vclaw.claws import environment, status
from vclaw.cli.main import main
from vclaw.errors import VclawError
from vclaw.progress import Silent

SECRET = "sk-planted-by-a-test"


def told(world: World) -> dict[str, str] | None:
    """The variables that the running guest was told, None where it was told none."""
    path = world.knobs / "told"
    return json.loads(path.read_text()) if path.exists() else None


def set_env(world: World, **variables: str | None) -> bool:
    return environment.change(world.paths, variables, Silent(), 20.0)


def test_a_stopped_claw_gets_its_variables_at_the_next_start(world: World) -> None:
    said = vclaw(world, "env", "demo", "set", "A=1", "B=2 3")
    assert said.stdout == "demo: set A, B\n"
    assert "at its next start" in said.stderr
    assert "B=2" not in said.stdout + said.stderr
    world.run()
    assert fsutil.read_json(world.paths.guest)["env"] == {"A": "1", "B": "2 3"}
    assert b'"B": "2 3"' in world.paths.seed.read_bytes()
    assert told(world) is None


def test_a_running_claw_gets_them_without_a_boot_and_is_ready_again(world: World) -> None:
    world.run()
    said = vclaw(world, "env", "demo", "set", f"KEY={SECRET}")
    assert told(world) == {"KEY": SECRET}
    assert "restarting OpenClaw" in said.stderr
    assert "6 of 6: gateway ready" in said.stderr
    assert readiness.is_ready(world.paths, world.spec.gateway_port)
    assert world.starts == 1


def test_all_stages_find_a_claw_with_new_variables_up_to_date(world: World) -> None:
    world.run()
    set_env(world, KEY=SECRET)
    before = world.effects()
    world.run()
    assert changed(before, world.effects()) == set()
    done = world.doit("ready:demo")
    assert done.returncode == 0, done.stderr
    assert changed(before, world.effects()) <= {"ready"}
    world.kill()
    world.run()
    assert changed(before, world.effects()) == {"boot", "ready"}


def test_the_files_are_those_that_a_run_with_the_variables_writes(world: World) -> None:
    set_env(world, A="1", B="2")
    by_env = world.paths.guest.read_bytes(), world.paths.secrets.read_bytes()
    world.prepare(A="1", B="2")
    assert (world.paths.guest.read_bytes(), world.paths.secrets.read_bytes()) == by_env


def test_no_wait_leaves_a_claw_that_is_not_called_ready(world: World) -> None:
    world.run()
    world.turn("not-ready")
    vclaw(world, "env", "demo", "set", "A=1", "--no-wait")
    assert not world.paths.ready.exists()
    assert status.of(world.paths).status == "running"


def test_nothing_holds_the_claw_while_it_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()

    def wait(*_: object) -> None:
        assert world.paths.lock not in lock._held

    monkeypatch.setattr(readiness, "wait", wait)
    assert set_env(world, A="1")


def test_a_gateway_that_does_not_come_back_is_told_and_kept_for_ps(world: World) -> None:
    world.run()
    world.turn("not-ready")
    said = vclaw(
        world, "env", "demo", "set", "NODE_OPTIONS=--bad", "--ready-timeout-secs", "0.5", status=1
    )
    assert "'gateway ready' does not hold" in said.stderr
    assert "gateway ready" in status.of(world.paths).last_error


def test_what_is_set_already_does_nothing(world: World) -> None:
    world.run()
    set_env(world, A="1")
    (world.knobs / "told").unlink()
    before = world.effects()
    assert "nothing to change" in vclaw(world, "env", "demo", "set", "A=1").stdout
    assert "nothing to change" in vclaw(world, "env", "demo", "unset", "MISSING").stdout
    assert told(world) is None
    assert world.effects() == before


def test_a_removed_variable_is_in_no_file_any_more(world: World) -> None:
    world.run()
    set_env(world, KEY=SECRET, OTHER="1")
    assert vclaw(world, "env", "demo", "unset", "KEY").stdout == "demo: removed KEY\n"
    assert told(world) == {"OTHER": "1"}
    (world.knobs / "told").unlink()
    files = [path for path in world.paths.root.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_the_list_shows_names_and_no_values(world: World) -> None:
    set_env(world, KEY=SECRET, ABLE="2")
    table = vclaw(world, "env", "demo", "ls").stdout
    assert table.split() == ["KEY", "VALUE", "ABLE", identity.MASK, "KEY", identity.MASK]
    listed = json.loads(vclaw(world, "env", "demo", "ls", "--json").stdout)
    assert listed == {"clawid": "demo", "env": {"ABLE": identity.MASK, "KEY": identity.MASK}}


def test_a_secret_is_in_no_file_that_others_can_read_and_in_no_word(world: World) -> None:
    world.run()
    done = run_vclaw("env", "demo", "set", "KEY", env={**world.env, "KEY": SECRET})
    assert done.returncode == 0, show(done)
    assert told(world) == {"KEY": SECRET}
    (world.knobs / "told").unlink()
    holders = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in world.home.data.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    }
    assert holders == {"secrets.json": 0o600, "guest.json": 0o600, "seed.iso": 0o600}
    shown = vclaw(world, "inspect", "demo", "--json").stdout + vclaw(world, "ps", "--json").stdout
    assert SECRET not in done.stdout + done.stderr + shown
    running = boot.current(world.paths)
    assert running is not None
    assert SECRET not in " ".join(running.argv)


@pytest.mark.parametrize(
    ("knob", "code", "reason"),
    [("old-agent", 2, "older vclaw"), ("booting", 1, "still booting"), ("no-agent", 1, "answer")],
)
def test_a_guest_that_cannot_be_told_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, knob: str, code: int, reason: str
) -> None:
    world.turn(knob)
    world.run("boot")
    before = world.paths.secrets.read_bytes(), world.paths.guest.read_bytes(), world.effects()
    monkeypatch.setattr(environment, "ANSWER_SECONDS", 0.2)
    with pytest.raises(VclawError, match=reason) as caught:
        set_env(world, A="1")
    assert caught.value.exit_status == code
    after = world.paths.secrets.read_bytes(), world.paths.guest.read_bytes(), world.effects()
    assert after == before


def test_a_suspended_claw_is_to_be_resumed_first(world: World) -> None:
    world.run()
    vclaw(world, "suspend", "demo")
    assert "vclaw resume demo" in vclaw(world, "env", "demo", "set", "A=1", status=2).stderr


def test_what_the_guest_did_not_take_is_told_to_it_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()

    def fail(*_: object) -> None:
        raise VclawError("The guest is busy.")

    with monkeypatch.context() as patch:
        patch.setattr(environment, "_tell", fail)
        with pytest.raises(VclawError):
            set_env(world, A="1")
    assert set_env(world, A="1")
    assert told(world) == {"A": "1"}


@pytest.mark.parametrize(
    "argv",
    [
        ["set"],
        ["set", "1A=x"],
        ["set", "NOT_IN_ANY_ENVIRONMENT"],
        ["set", "--env-file", "/no/such"],
        ["set", "A=1", "--stdin"],
        ["set", "A", "B", "--stdin"],
        ["set", "A=1", "--ready-timeout-secs", "soon"],
        ["unset"],
        ["unset", "A=1"],
    ],
)
def test_variables_that_make_no_sense_are_refused(
    world: World, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.paths.secrets.read_bytes()
    assert main(["env", "demo", *argv]) == 2
    assert capsys.readouterr().err.startswith("vclaw: ")
    assert world.paths.secrets.read_bytes() == before


def test_variables_given_to_run_still_hold(world: World) -> None:
    world.build_runtime()
    vclaw(world, *words(world), "--env", "A=1")
    vclaw(world, "env", "new", "set", "B=2")
    vclaw(world, *words(world), "--env", "A=1", "--env", "B=2")
    assert world.starts == 1


def test_a_claw_that_is_not_there_is_named(world: World) -> None:
    assert "Did you mean demo?" in vclaw(world, "env", "dem", "ls", status=2).stderr
