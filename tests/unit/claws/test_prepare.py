"""From options to a claw's files, and what a refused first run leaves: nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.world import Lines, World
from vclaw import boot, config, identity, proc, runtime
from vclaw.claws import launch, lifecycle, prepare, record, status
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.qemu import Qemu
from vclaw.progress import Silent


def options(world: World, **changes: Any) -> RunOptions:
    """What the user asks for a claw named new, of the world's image."""
    given: dict[str, Any] = {
        "name": "new",
        "image": str(world.spec.image.path),
        "workspace": str(world.spec.workspace),
        "port": str(world.spec.gateway_port),
        "disk_gib": "1",
        "cpus": "1",
        "memory_mib": "2048",
        "openclaw_version": runtime.DEFAULT_VERSION,
        **changes,
    }
    return RunOptions(**given)


def run(world: World, *, wait: bool = True, **changes: Any) -> prepare.Prepared:
    return launch.launch(world.home, options(world, **changes), Silent(), wait=wait, timeout=10.0)


def test_a_claws_files_are_for_its_owner_alone(world: World) -> None:
    made = prepare.prepare(world.home, options(world), Silent())
    assert made.fresh
    for folder in (made.paths.root, made.paths.sockets, made.paths.logs, made.paths.state):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    for file in (made.paths.secrets, made.paths.guest, made.paths.ssh_key):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert record.load(made.paths) == made.spec


def test_the_same_options_change_no_file(world: World) -> None:
    made = prepare.prepare(world.home, options(world, env=["A=1"]), Silent())
    files = (made.paths.spec, made.paths.machine, made.paths.guest, made.paths.secrets)
    before = [file.stat().st_ino for file in files]
    again = prepare.prepare(world.home, options(world), Silent())
    assert not again.fresh
    assert [file.stat().st_ino for file in files] == before
    assert identity.load(made.paths).env == {"A": "1"}


def test_a_changed_flag_changes_its_files_alone(world: World) -> None:
    made = prepare.prepare(world.home, options(world), Silent())
    before = made.paths.guest.read_bytes(), made.paths.secrets.read_bytes()
    prepare.prepare(world.home, options(world, memory_mib="3000"), Silent())
    assert json.loads(made.paths.machine.read_bytes())["memory_mib"] == 3000
    assert (made.paths.guest.read_bytes(), made.paths.secrets.read_bytes()) == before


def test_a_model_reaches_the_guest_and_changes_only_while_the_claw_is_stopped(
    world: World,
) -> None:
    words = {"model": "lmstudio/a", "model_base_url": "http://127.0.0.1:1/v1"}
    world.build_runtime()
    made = run(world, wait=False, env=["LMSTUDIO_API_KEY=planted"], **words)

    def chosen() -> tuple[str, dict[str, Any]]:
        settings = json.loads(made.paths.guest.read_bytes())["openclaw"]
        primary = settings["agents"]["defaults"]["model"]["primary"]
        return primary, settings["models"].get("providers", {})

    assert chosen()[0] == "lmstudio/a"
    assert chosen()[1]["lmstudio"]["baseUrl"] == "http://10.0.2.2:1/v1"
    assert chosen()[1]["lmstudio"]["apiKey"] == "${LMSTUDIO_API_KEY}"
    assert "planted" not in made.paths.spec.read_text() + made.paths.machine.read_text()
    with pytest.raises(UsageError, match="running with other settings"):
        run(world, wait=False, model="openai/gpt-5")
    lifecycle.stop(made.paths, Silent(), force=True)
    run(world, wait=False)
    assert chosen()[0] == "lmstudio/a"
    lifecycle.stop(made.paths, Silent(), force=True)
    run(world, wait=False, model="openai/gpt-5")
    assert chosen() == ("openai/gpt-5", {})


def test_a_read_only_workspace_is_so_for_the_guest_and_for_the_hypervisor(world: World) -> None:
    made = prepare.prepare(world.home, options(world, read_only_workspace=True), Silent())
    for file in (made.paths.guest, made.paths.machine):
        shares = json.loads(file.read_bytes())["shares"]
        assert {item["tag"]: item["readonly"] for item in shares} == {
            "state": False,
            "workspace": True,
        }


def test_each_claw_has_secrets_of_its_own(world: World) -> None:
    one = prepare.prepare(world.home, options(world), Silent())
    two = prepare.prepare(world.home, options(world, name="two"), Silent())
    first, second = identity.load(one.paths), identity.load(two.paths)
    assert first.token != second.token
    assert len(first.token) >= 32
    assert first.host_private != second.host_private
    assert "PRIVATE KEY" in first.host_private
    assert one.paths.known_hosts.read_text() == f"vclaw-new {first.host_public}"
    assert not list(one.paths.root.glob("host_key*"))


@pytest.mark.parametrize("content", [b"{}", b"\xff", b'{"schema": 1}', b'{"schema": 1, "x": 2}'])
def test_damaged_secrets_are_named(world: World, content: bytes) -> None:
    world.paths.secrets.write_bytes(content)
    with pytest.raises(VclawError, match=r"secrets\.json is damaged"):
        identity.load(world.paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Bad"},
        {"image": "debian:99"},
        {"image": "/no/such.img"},
        {"port": "0"},
        {"env": ["1=2"]},
        {"ca_cert": "/no/such.pem"},
        {"workspace": "/no/such"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_refused_options_make_nothing(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        prepare.prepare(world.home, options(world, **changes), Silent())
    assert record.names(world.home) == ["demo"]


def test_a_missing_program_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def need(program: str, purpose: str) -> Path:
        raise UsageError(f"{program} is not installed, and {purpose} needs it.", "Install it.")

    monkeypatch.setattr(proc, "need", need)
    monkeypatch.setattr(Qemu, "program", lambda *_: Path("qemu"))
    with pytest.raises(UsageError, match="ssh-keygen"):
        run(world)
    assert record.names(world.home) == ["demo"]


def test_a_refused_first_run_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("The disk is full.", "Make room.")

    monkeypatch.setattr("vclaw.disk.create", refuse)
    with pytest.raises(UsageError, match="disk is full"):
        run(world)
    assert record.names(world.home) == ["demo"]


def test_a_refused_later_run_keeps_the_claw(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(world)
    lifecycle.stop(made.paths, Silent())

    def refuse(*_: object) -> None:
        raise UsageError("No.", "Really.")

    monkeypatch.setattr("vclaw.boot.ensure", refuse)
    with pytest.raises(UsageError):
        run(world)
    assert made.paths.disk.exists()


def test_a_failed_run_is_shown_until_it_is_ready(world: World) -> None:
    world.turn("fail")
    with pytest.raises(VclawError, match="exit status 3"):
        run(world)
    paths = world.home.claw("new")
    assert status.of(paths).last_error == "QEMU ended at once with exit status 3."
    world.turn("fail", on=False)
    run(world)
    assert (status.of(paths).status, status.of(paths).last_error) == ("ready", "")


def test_an_interrupted_run_leaves_a_claw_that_is_shown_and_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vclaw.readiness.guest_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(world)
    paths = world.home.claw("new")
    assert status.of(paths).pid is not None
    lifecycle.remove(paths, Silent(), force=True)
    assert record.names(world.home) == ["demo"]


def test_no_wait_ends_after_the_boot(world: World) -> None:
    world.turn("not-ready")
    made = run(world, wait=False)
    assert boot.is_up(made.paths)
    assert not made.paths.ready.exists()


def test_a_run_of_a_running_claw_finds_it_ready(world: World) -> None:
    run(world)
    run(world)
    assert world.starts == 1


@pytest.mark.parametrize(
    "changes", [{"memory_mib": "3000"}, {"env": ["A=1"]}, {"publish": ["40080:80"]}, {"port": "1"}]
)
def test_a_running_claw_takes_no_other_settings(world: World, changes: dict[str, Any]) -> None:
    made = run(world)
    before = made.paths.guest.read_bytes(), made.paths.machine.read_bytes()
    with pytest.raises(UsageError, match="new is running with other settings"):
        run(world, **changes)
    assert (made.paths.guest.read_bytes(), made.paths.machine.read_bytes()) == before
    assert boot.is_up(made.paths)


def test_a_suspended_claw_is_to_be_resumed_and_not_waited_for(world: World) -> None:
    made = run(world)
    lifecycle.suspend(made.paths, Silent())
    with pytest.raises(UsageError, match="new is suspended") as refused:
        run(world)
    assert "vclaw resume new" in refused.value.hint


def test_a_port_that_another_claw_takes_meanwhile_is_not_chosen_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial of KVM is what takes longest between the first look and the lock."""
    choose = Qemu.accelerator

    def meanwhile(*words: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(Qemu, "accelerator", choose)
            prepare.prepare(world.home, options(world, name="other", port=None), Silent())
        return choose(*words)

    monkeypatch.setattr(Qemu, "accelerator", meanwhile)
    made = prepare.prepare(world.home, options(world, port=None), Silent())
    other = record.load(world.home.claw("other"))
    assert made.spec.gateway_port not in {forward.host for forward in other.forwards}
    assert record.load(made.paths) == made.spec


def test_a_claw_that_another_run_boots_meanwhile_keeps_its_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Qemu.accelerator

    def meanwhile(*words: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(Qemu, "accelerator", choose)
            run(world, port=None)
        return choose(*words)

    monkeypatch.setattr(Qemu, "accelerator", meanwhile)
    made = prepare.prepare(world.home, options(world, port=None), Silent())
    assert not made.fresh
    assert status.of(made.paths).status == "ready"


def test_a_start_makes_no_new_claw_in_the_place_of_one_that_is_removed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = prepare.prepare(world.home, options(world), Silent()).spec
    choose = Qemu.accelerator

    def meanwhile(*words: Any) -> Any:
        lifecycle.remove(world.home.claw("new"), Silent())
        return choose(*words)

    monkeypatch.setattr(Qemu, "accelerator", meanwhile)
    for _ in range(2):  # meanwhile, and before
        with pytest.raises(UsageError, match="new was removed by another process just now"):
            prepare.prepare(world.home, config.again(spec), Silent())
        assert record.names(world.home) == ["demo"]


def test_a_first_run_whose_port_is_taken_meanwhile_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, port = Qemu.accelerator, world.spec.gateway_port
    with socket.socket() as taker:

        def meanwhile(*words: Any) -> Any:
            taker.bind(("127.0.0.1", port))
            taker.listen()
            return choose(*words)

        monkeypatch.setattr(Qemu, "accelerator", meanwhile)
        with pytest.raises(UsageError, match=f"Port {port} of the host is taken"):
            prepare.prepare(world.home, options(world), Silent())
    assert record.names(world.home) == ["demo"]


def test_a_name_whose_record_is_broken_is_refused(world: World) -> None:
    world.paths.spec.write_text("{")
    with pytest.raises(UsageError, match="demo already, and it is broken") as caught:
        prepare.prepare(world.home, options(world, name="demo"), Silent())
    assert "vclaw rm demo" in caught.value.hint


def test_more_memory_than_there_is_is_told(world: World) -> None:
    progress = Lines()
    prepare.prepare(world.home, options(world, memory_mib=str(2**30)), progress)
    assert any("may use 1073741824 MiB of memory" in said for said in progress.said)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def foreign(world: World) -> Path:
    """A file of root's in the state of the claw `new`, whose workspace is another user's."""
    os.chown(world.spec.workspace, 1234, 1234)
    made = prepare.prepare(world.home, options(world), Silent())
    file = made.paths.state / "openclaw.json"
    file.write_text("{}")
    return file


@needs_root
def test_a_state_with_files_of_another_user_is_the_workspace_owners_again(
    world: World, foreign: Path
) -> None:
    said = Lines()
    prepare.prepare(world.home, options(world), said)
    assert foreign.stat().st_uid == 1234
    assert [line for line in said.said if "all of it is uid 1234's now" in line]
    again = Lines()
    prepare.prepare(world.home, options(world), again)
    assert not [line for line in again.said if "1234" in line]


@needs_root
def test_a_user_who_cannot_give_files_away_is_told_what_helps(
    world: World, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(world.spec.workspace, 0, 0)
    os.chown(foreign, 1234, 1234)
    monkeypatch.setattr("vclaw.claws.prepare.workspace_owner", lambda _: (os.getuid(), 0))
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    said = Lines()
    prepare._own_state(world.home.claw("new"), record.load(world.home.claw("new")), said)
    assert f"sudo chown -R 0 {foreign.parent}" in said.said[0]
    assert foreign.stat().st_uid == 1234
