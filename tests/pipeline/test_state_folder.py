"""OpenClaw's state kept outside the claw: made where it is missing, held by one, never deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline.world import World, free_port
from vclaw import boot, fsutil, openclaw, providers
from vclaw.claws import launch, lifecycle, prepare, record
from vclaw.cli.main import main
from vclaw.config import RunOptions
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.progress import Silent


@pytest.fixture
def state(world: World) -> Path:
    """A folder that does not exist yet, outside of everything."""
    return world.home.data.parent / "kept" / "state"


def options(world: World, name: str, state: Path) -> RunOptions:
    return RunOptions(
        name=name,
        image=str(world.spec.image.path),
        workspace=str(world.spec.workspace),
        port=str(free_port()),
        disk_gib="1",
        cpus="1",
        memory_mib="2048",
        openclaw_version=world.spec.openclaw_version,
        state=str(state),
    )


def run(world: World, name: str, state: Path) -> prepare.Prepared:
    wanted = options(world, name, state)
    return launch.launch(world.home, wanted, Silent(), wait=False, timeout=10.0)


def test_the_guest_gets_the_folder_and_the_claw_none_of_its_own(world: World, state: Path) -> None:
    made = run(world, "one", state)
    shares = fsutil.read_json(made.paths.machine)["shares"]
    assert {share["tag"]: share["path"] for share in shares}["state"] == str(state)
    assert state.stat().st_mode & 0o777 == 0o700
    assert not made.paths.state.exists()


def test_rm_leaves_it_and_another_claw_may_have_it_then(world: World, state: Path) -> None:
    run(world, "one", state)
    (state / "memory").write_text("kept")
    assert main(["rm", "one", "--yes"]) == 0
    assert (state / "memory").read_text() == "kept"
    run(world, "two", state)
    assert (state / "memory").read_text() == "kept"


def test_keep_state_is_refused_for_what_is_kept_anyway(world: World, state: Path) -> None:
    made = run(world, "one", state)
    with pytest.raises(UsageError, match="outside of the claw") as caught:
        lifecycle.remove(made.paths, Silent(), keep_state=state.with_name("other"))
    assert "--keep-state" in caught.value.hint
    assert boot.is_up(made.paths)


@pytest.mark.parametrize("inside", [".", "sub"])
def test_a_running_claws_folder_is_refused_by_its_name(
    world: World, state: Path, inside: str
) -> None:
    one = run(world, "one", state)
    with pytest.raises(UsageError, match="in use by the claw one") as caught:
        run(world, "two", state / inside)
    assert "vclaw stop one" in caught.value.hint
    assert record.names(world.home) == ["demo", "one"]
    lifecycle.stop(one.paths, Silent())
    assert boot.is_up(run(world, "two", state / inside).paths)


def test_a_claw_of_another_home_is_kept_out_by_the_lock_of_the_running_machine(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(world, "one", state)
    # Such a claw is not among those that this home knows of.
    monkeypatch.setattr(prepare, "others", lambda *_: [])
    with pytest.raises(UsageError, match="in use by another claw that runs"):
        run(world, "two", state)
    process = boot.current(one.paths)
    assert process is not None
    process.end(patience=0.0)  # as a crash would: the lock ends with it
    assert boot.is_up(run(world, "two", state).paths)


def test_a_refused_first_run_does_not_leave_a_folder_that_it_made(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("No.", "Never.")

    monkeypatch.setattr(prepare.identity, "ensure", refuse)
    for there in (False, True):
        if there:
            state.mkdir(parents=True)
        with pytest.raises(UsageError, match="No"):
            run(world, "one", state)
        assert state.exists() == there
    assert record.names(world.home) == ["demo"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_than_the_workspaces_is_refused(world: World, state: Path) -> None:
    state.mkdir(parents=True)
    os.chown(state, 4321, 4321)
    with pytest.raises(UsageError, match="belongs to uid 4321") as caught:
        run(world, "one", state)
    assert "chown -R" in caught.value.hint


def test_keys_in_it_count_as_a_configured_provider(world: World, state: Path) -> None:
    state.mkdir(parents=True)
    spec = replace(world.spec, state=state)
    assert not providers.of_claw(world.paths, spec)
    (state / ".env").write_text("OPENAI_API_KEY=x\n")
    assert providers.of_claw(world.paths, spec)


def test_what_a_model_server_needs_counts_as_a_configured_provider(world: World) -> None:
    spec = replace(world.spec, model="lmstudio/a", model_base_url="http://127.0.0.1:1/v1")
    made = openclaw.config(spec)
    assert providers.configured((), (made,))
    assert not providers.configured((), (openclaw.config(replace(spec, model_base_url="")),))


def test_the_lock_does_not_outlive_a_command_that_started_nothing(
    world: World, state: Path
) -> None:
    state.mkdir(parents=True)
    prepare.write(world.home, world.paths, replace(world.spec, state=state), {}, "tcg", "")
    script = (
        "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY);"
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    words = [sys.executable, "-c", script, str(state)]
    with boot.state_held(world.paths, boot.machine(world.paths)) as held:
        assert len(held) == 1
        assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    subprocess.run(words, capture_output=True, check=True)


def test_a_home_in_the_state_folder_is_refused(world: World, state: Path) -> None:
    home = Home(state / "vclaw", state / "vclaw")
    wanted = options(world, "one", state)
    with pytest.raises(UsageError, match="within each other"):
        prepare.prepare(home, wanted, Silent())
    assert not state.exists()
