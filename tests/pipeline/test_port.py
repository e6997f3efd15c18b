"""`vclaw port`: what leads into a claw, changed while it runs or not."""

from __future__ import annotations

import json
import socket
import urllib.request

import pytest

from tests.pipeline.test_commands import vclaw, words
from tests.pipeline.world import World, changed, free_port
from vclaw import boot, hypervisor
from vclaw.claws import forwards, record
from vclaw.cli.main import main
from vclaw.errors import VclawError
from vclaw.model import PortForward
from vclaw.progress import Silent


def answers(port: int) -> bool:
    """Whether the fake guest is reached at this port of the host."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return bool(json.load(answer)["ok"])
    except OSError:
        return False


def test_an_added_port_is_reached_and_a_removed_one_refused(world: World) -> None:
    world.run()
    port = free_port()
    assert not answers(port)
    said = vclaw(world, "port", "add", "demo", f"{port}:90").stdout
    assert said == f"demo: 127.0.0.1:{port} leads to its port 90\n"
    assert answers(port)
    listed = json.loads(vclaw(world, "port", "ls", "demo", "--json").stdout)
    assert listed[-1] == {"use": "published", "host": f"127.0.0.1:{port}", "guest": 90}
    assert str(port) in vclaw(world, "port", "ls", "demo").stdout
    assert vclaw(world, "port", "rm", "demo", str(port)).stdout.endswith("is closed\n")
    assert not answers(port)
    assert answers(world.spec.gateway_port)
    assert world.starts == 1


def test_an_addition_that_was_cut_short_can_be_given_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    world.run()
    port = free_port()
    with monkeypatch.context() as patch:
        patch.setattr("vclaw.claws.record.save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            forwards.add(world.paths, [PortForward(port, 90)])
    assert answers(port)
    forwards.add(world.paths, [PortForward(port, 90)])
    assert answers(port)
    assert record.load(world.paths).publish == (PortForward(port, 90),)


def test_all_stages_find_a_claw_with_another_port_up_to_date(world: World) -> None:
    world.run()
    port = free_port()
    forwards.add(world.paths, [PortForward(port, 90)])
    before = world.effects()
    world.run()
    done = world.doit("ready:demo")
    assert done.returncode == 0, done.stderr
    assert changed(before, world.effects()) <= {"ready"}
    assert answers(port)


def test_the_words_that_started_a_claw_find_it_with_its_added_port(world: World) -> None:
    world.build_runtime()
    published, added = free_port(), free_port()
    started = [*words(world), "--publish", f"{published}:80"]
    vclaw(world, *started)
    timeline = world.home.claw("new").timeline.read_bytes()
    vclaw(world, "port", "add", "new", f"{added}:90")
    assert f"127.0.0.1:{added} -> 90" in vclaw(world, *started).stdout
    assert f"127.0.0.1:{added} -> 90" in vclaw(world, "start", "new").stdout
    assert answers(added)
    assert world.home.claw("new").timeline.read_bytes() == timeline
    assert "other settings" in vclaw(world, *started, "--publish", "1:1", status=2).stderr
    assert world.starts == 1


def test_a_port_is_remembered_for_the_next_start(world: World) -> None:
    world.build_runtime()
    vclaw(world, *words(world), "--no-wait")
    first, second = free_port(), free_port()
    vclaw(world, "port", "add", "new", f"{first}:90")
    vclaw(world, "stop", "new")
    said = vclaw(world, "port", "add", "new", f"{second}:91").stdout
    assert said.endswith("leads to its port 91 from its next start on\n")
    assert not answers(first)
    vclaw(world, "start", "new")
    assert answers(first)
    assert answers(second)


@pytest.mark.parametrize("running", [True, False])
def test_ports_that_cannot_be_changed_are_refused_and_all_stays(
    world: World, running: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if running:
        world.run("boot")
    port = free_port()
    forwards.add(world.paths, [PortForward(port, 90)])
    gateway, ssh = world.spec.gateway_port, world.spec.ssh_port
    free = str(free_port())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        refused = {
            ("add", f"{taken}:80"): "is taken",
            ("add", f"{free}:80", f"{taken}:80"): "is taken",
            ("add", f"{port}:91"): "already",
            ("add", f"{gateway}:91"): "already",
            ("add", f"{free}:1", f"{free}:2"): "given twice",
            ("add", "80"): "is not understood",
            ("add", f"0.0.0.0:{free}:80"): "127.0.0.1 alone",
            ("add", f"{free}:0"): "no port",
            ("rm", str(gateway)): "gateway, which every claw needs",
            ("rm", str(ssh)): "SSH, which every claw needs",
            ("rm", free): "does not lead to demo",
            ("rm", str(port), free): "does not lead to demo",
            ("rm", "web"): "no port",
        }
        before = world.paths.spec.read_bytes(), world.paths.machine.read_bytes()
        for (verb, *given), reason in refused.items():
            assert main(["port", verb, "demo", *given]) == 2, given
            assert reason in capsys.readouterr().err, given
        assert (world.paths.spec.read_bytes(), world.paths.machine.read_bytes()) == before
    assert answers(port) is running
    assert not answers(int(free))


def test_a_port_that_is_lost_at_the_last_moment_leaves_all_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("boot")
    first, second = sorted((free_port(), free_port()))
    monkeypatch.setattr("vclaw.ports.require_free", lambda _: None)
    before = world.paths.spec.read_bytes(), world.paths.machine.read_bytes()
    with socket.socket() as other:
        other.bind(("127.0.0.1", second))
        other.listen()
        with pytest.raises(VclawError, match=r"Port \d+ of the host was taken"):
            forwards.add(world.paths, [PortForward(first, 80), PortForward(second, 80)])
        assert not answers(first)
    assert (world.paths.spec.read_bytes(), world.paths.machine.read_bytes()) == before


def test_a_machine_that_cannot_have_its_ports_does_not_stay(world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", world.spec.gateway_port))
        other.listen()
        with pytest.raises(VclawError, match=f"{world.spec.gateway_port}"):
            world.run("boot")
    assert not boot.is_up(world.paths)
    world.run("boot")
    assert answers(world.spec.gateway_port)


def test_a_machine_that_was_left_without_its_ports_gets_them(world: World) -> None:
    world.run("boot")
    hypervisor.current().forward(world.paths, ())
    assert not answers(world.spec.gateway_port)
    boot.ensure(world.paths, Silent())
    assert answers(world.spec.gateway_port)
    assert world.starts == 1


def test_a_claw_that_is_not_there_is_named(world: World) -> None:
    assert "Did you mean demo?" in vclaw(world, "port", "ls", "dem", status=2).stderr
