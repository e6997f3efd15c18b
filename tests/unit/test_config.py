"""From options to a claw: what is accepted, what is refused, and what is chosen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vclaw import config, ports
from vclaw.config import Chooser, RunOptions
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.model import GATEWAY_GUEST_PORT, ClawSpec, ImageRef, PortForward

IMAGE = ImageRef("debian", "12", "amd64")

CHOOSER = Chooser(
    image=lambda text: IMAGE if text is None else ImageRef(*text.split(":"), "amd64"),
    openclaw=lambda text: text or "2026.9.6",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A short home, and a project's folder as the current one."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Home(Path("/h"), Path("/h"))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def spec(tmp_path: Path, **changes: Any) -> ClawSpec:
    made = ClawSpec(
        name="demo",
        image=IMAGE,
        openclaw_version="2026.9.6",
        workspace=tmp_path / "project",
        cpus=1,
        memory_mib=3000,
        disk_gib=10,
        gateway_port=ports.any_free(()),
        ssh_port=ports.any_free(()),
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("url", "reached"),
    [("http://127.0.0.1:11434", (5432, 11434)), ("http://127.0.0.1:5432", (5432,)), ("", (5432,))],
)
def test_the_guest_reaches_its_model_server_and_the_ports_that_were_allowed(
    tmp_path: Path, url: str, reached: tuple[int, ...]
) -> None:
    assert spec(tmp_path, allow_host_port=(5432,), model_base_url=url).host_ports == reached


def decide(
    home: Home, existing: ClawSpec | None = None, *others: ClawSpec, **options: Any
) -> ClawSpec:
    """The claw that these options mean; what is said is dropped."""
    wanted = RunOptions(**options)
    return config.decide(wanted, home, CHOOSER, existing, others, lambda _: None)


def test_nothing_said_means_the_defaults(home: Home) -> None:
    made = decide(home)
    assert made.workspace == Path.cwd()
    assert (made.image, made.openclaw_version) == (IMAGE, "2026.9.6")
    assert (made.memory_mib, made.disk_gib) == (4096, 20)
    assert made.cpus == min(4, os.cpu_count() or 1)
    assert made.gateway_port >= GATEWAY_GUEST_PORT
    assert not made.port_fixed
    assert made.publish == ()
    assert len({forward.host for forward in made.forwards}) == 2


def test_what_is_said_holds(home: Home) -> None:
    first, second, third = (ports.any_free(()) for _ in range(3))
    made = decide(
        home,
        name="my-claw",
        image="ubuntu:24.04",
        openclaw_version="2026.1.1",
        cpus="1",
        memory_mib="2048",
        disk_gib="30",
        port=str(first),
        publish=[f"{second}:80", f"127.0.0.1:{third}:443"],
    )
    assert (made.name, made.image.name, made.openclaw_version) == (
        "my-claw",
        "ubuntu:24.04",
        "2026.1.1",
    )
    assert (made.cpus, made.memory_mib, made.disk_gib) == (1, 2048, 30)
    assert (made.gateway_port, made.port_fixed) == (first, True)
    assert made.publish == (PortForward(second, 80), PortForward(third, 443))


def test_a_claw_has_the_internet_alone_unless_something_else_is_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VCLAW_NETWORK", raising=False)
    assert (decide(home).network, decide(home).allow_host_port) == ("internet", ())
    monkeypatch.setenv("VCLAW_NETWORK", "open")
    assert decide(home).network == "open"
    assert decide(home, network="none").network == "none"
    before = spec(tmp_path, network="none", allow_host_port=(9,))
    kept = decide(home, before, name="demo")
    assert (kept.network, kept.allow_host_port) == ("none", (9,))
    changed = decide(home, before, name="demo", network="internet", allow_host_port=["8", "7", "8"])
    assert (changed.network, changed.allow_host_port) == ("internet", (8, 7))


def test_a_claw_begins_from_a_template_unless_something_else_is_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VCLAW_TEMPLATE", raising=False)
    assert decide(home).template is True
    assert decide(home, no_template=True).template is False
    monkeypatch.setenv("VCLAW_TEMPLATE", "no")
    assert decide(home).template is False
    assert decide(home, spec(tmp_path, template=True), name="demo").template is True
    monkeypatch.setenv("VCLAW_TEMPLATE", "yes")
    assert decide(home, spec(tmp_path, template=False), name="demo").template is False


@pytest.mark.parametrize("word", ["maybe", "No", "1", " "])
def test_another_word_on_templates_than_yes_or_no_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("VCLAW_TEMPLATE", word)
    with pytest.raises(UsageError, match="VCLAW_TEMPLATE is") as caught:
        decide(home)
    assert caught.value.hint == "Say yes or no."


def test_a_claw_that_begins_from_a_template_cannot_be_given_a_disk_of_its_own_later(
    home: Home, tmp_path: Path
) -> None:
    there = spec(tmp_path, template=True)
    with pytest.raises(UsageError, match="its disk is one over a template's, not one of its own"):
        decide(home, there, name="demo", no_template=True)
    own = replace(there, template=False)
    assert decide(home, own, name="demo", no_template=True) == own


def test_a_port_of_the_claw_cannot_be_one_of_the_host_too(home: Home) -> None:
    port = str(ports.any_free(()))
    with pytest.raises(UsageError, match=f"reach port {port} of the host, which is the claw"):
        decide(home, port=port, allow_host_port=[port])


@pytest.mark.parametrize(
    ("asked", "kept"), [(None, True), ([], True), (["8080:80"], True), (["8080:81"], False)]
)
def test_a_running_claw_keeps_the_ports_that_were_added(
    home: Home, asked: list[str] | None, kept: bool
) -> None:
    made = decide(home, name="x")
    running = replace(made, publish=(PortForward(8080, 80), PortForward(9000, 90)))
    again = config.decide(
        RunOptions(name="x", publish=asked), home, CHOOSER, running, (), print, running=True
    )
    assert (again == running) is kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "lan"}, "--network is 'lan'"),
        ({"allow_host_port": ["0"]}, "--allow-host-port"),
        ({"allow_host_port": ["ssh"]}, "--allow-host-port"),
        ({"name": ""}, "name"),
        ({"name": "Caps"}, "name"),
        ({"name": "a_b"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a-"}, "name"),
        ({"name": "a" * 41}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "a\n"}, "name"),
        ({"workspace": "missing"}, "does not exist"),
        ({"workspace": "~nobody-of-this-name/x"}, "workspace"),
        ({"workspace": "x" * 300}, "workspace"),
        ({"model": "gpt"}, "--model"),
        ({"model_base_url": "http://127.0.0.1:1/v1"}, "--model-base-url"),
        ({"model": "a/b", "model_base_url": "nowhere"}, "--model-base-url"),
        ({"state": ""}, "state folder"),
        ({"state": "."}, "within each other"),
        ({"state": "state"}, "within each other"),
        ({"state": ".."}, "within each other"),
        ({"state": "/h/state"}, "within each other"),
        ({"state": "/"}, "within each other"),
        ({"state": "/dev/null"}, "is not a folder"),
        ({"state": "/dev/null/x"}, "state folder"),
        ({"state": "~nobody-of-this-name/x"}, "state folder"),
        ({"cpus": "0"}, "--cpus"),
        ({"cpus": "two"}, "--cpus"),
        ({"cpus": "-1"}, "--cpus"),
        ({"cpus": "1.5"}, "--cpus"),
        ({"cpus": "99999"}, "this host has"),
        ({"memory_mib": "2047"}, "2047: the guest"),
        ({"memory_mib": "4G"}, "--memory-mib"),
        ({"memory_mib": "0"}, "--memory-mib"),
        ({"memory_mib": "9" * 30}, "--memory-mib"),
        ({"memory_mib": "9" * 5000}, "--memory-mib"),
        ({"disk_gib": "0"}, "--disk-gib"),
        ({"disk_gib": "٣"}, "--disk-gib"),
        ({"port": "0"}, "--port"),
        ({"port": "65536"}, "--port"),
        ({"port": "http"}, "--port"),
        ({"port": ""}, "--port"),
        ({"port": "9" * 5000}, "--port"),
        ({"publish": ["8080"]}, "not understood"),
        ({"publish": ["8080:"]}, "no port"),
        ({"publish": ["0:80"]}, "no port"),
        ({"publish": ["80:70000"]}, "no port"),
        ({"publish": ["0.0.0.0:8080:80"]}, "would listen on 0.0.0.0"),
        ({"publish": [":8080:80"]}, "would listen on every address"),
        ({"publish": ["1:2:3:4"]}, "not understood"),
        ({"publish": ["40080:80", "40080:81"]}, "given twice"),
        ({"port": "40080", "publish": ["40080:80"]}, "given twice"),
    ],
)
def test_bad_input_is_refused_in_two_sentences(
    home: Home, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        decide(home, **options)
    assert caught.value.hint


def test_a_workspace_that_is_a_file_is_refused(home: Home) -> None:
    Path("file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        decide(home, workspace="file")


@pytest.mark.usefixtures("home")
def test_a_home_too_deep_for_sockets_is_refused() -> None:
    with pytest.raises(UsageError, match="unix socket"):
        decide(Home(Path("/h"), Path("/" + "d" * 90)))


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 40])
def test_a_hostname_is_a_good_name(name: str) -> None:
    assert config.claw_name(RunOptions(name=name)) == name


def test_a_folder_has_one_name_and_another_folder_another(tmp_path: Path) -> None:
    folders = ["one/My Project!", "two/My Project!", "three/" + "long" * 20, "four/---", "five/é"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    names = [config.claw_name(RunOptions(workspace=str(tmp_path / f))) for f in folders]
    again = [config.claw_name(RunOptions(workspace=str(tmp_path / f))) for f in folders]
    assert names == again
    assert len(set(names)) == len(names)
    assert all(config.NAME.fullmatch(name) for name in names)
    assert names[0].startswith("my-project-")
    assert names[3].startswith("claw-")


def test_what_a_claw_was_given_holds_until_a_flag_changes_it(home: Home, tmp_path: Path) -> None:
    old = spec(tmp_path, publish=(PortForward(ports.any_free(()), 80),))
    assert decide(home, old, name="demo") == old
    assert decide(home, old, name="demo", memory_mib="2500") == replace(old, memory_mib=2500)
    assert decide(home, old, name="demo", publish=[]) == replace(old, publish=())


def test_the_model_may_change_and_takes_its_server_along(home: Home, tmp_path: Path) -> None:
    old = spec(tmp_path, model="lmstudio/a", model_base_url="http://127.0.0.1:1/v1")
    assert decide(home, old, name="demo") == old
    other = decide(home, old, name="demo", model="lmstudio/b")
    assert (other.model, other.model_base_url) == ("lmstudio/b", old.model_base_url)
    other = decide(home, old, name="demo", model="openai/gpt-5")
    assert (other.model, other.model_base_url) == ("openai/gpt-5", "")


def test_a_server_of_this_host_is_said_to_have_another_address_in_the_guest(home: Home) -> None:
    said: list[str] = []
    for url in ("http://127.0.0.1:1/v1", "https://llm.example/v1"):
        options = RunOptions(model="a/b", model_base_url=url)
        config.decide(options, home, CHOOSER, None, (), said.append)
    lines = [line for line in said if "model server" in line]
    assert lines == [
        "the model server at http://127.0.0.1:1/v1 is http://10.0.2.2:1/v1 to the guest"
    ]


def test_a_read_only_workspace_stays_so_until_it_is_taken_back(home: Home, tmp_path: Path) -> None:
    assert not decide(home).read_only_workspace
    old = spec(tmp_path, read_only_workspace=True)
    assert decide(home, old, name="demo").read_only_workspace
    assert not decide(home, old, name="demo", read_only_workspace=False).read_only_workspace


def test_a_state_folder_need_not_be_there_yet(home: Home, tmp_path: Path) -> None:
    assert decide(home, state=str(tmp_path / "a" / "b")).state == tmp_path.resolve() / "a" / "b"
    (tmp_path / "link").symlink_to(tmp_path / "c")
    assert decide(home, state=str(tmp_path / "link")).state == tmp_path.resolve() / "c"
    old = spec(tmp_path, state=tmp_path / "a")
    assert decide(home, old, name="demo").state == tmp_path / "a"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"image": "debian:13"}, "its image is debian:12, not debian:13"),
        ({"openclaw_version": "2026.1.1"}, "its OpenClaw version is"),
        ({"disk_gib": "11"}, "its disk size is 10, not 11"),
        ({"workspace": ".."}, "its workspace is"),
        ({"state": "/elsewhere"}, "its state folder is its own, not /elsewhere"),
    ],
)
def test_what_cannot_change_is_refused(
    home: Home, tmp_path: Path, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        decide(home, spec(tmp_path), name="demo", **options)
    assert "vclaw rm demo" in caught.value.hint


def test_a_running_claw_keeps_the_ports_that_it_holds(
    home: Home, tmp_path: Path, taken: int
) -> None:
    running = spec(tmp_path, gateway_port=taken)
    same = config.decide(
        RunOptions(name="demo"), home, CHOOSER, running, (), lambda _: None, running=True
    )
    assert same == running


def test_a_taken_port_that_was_not_asked_for_becomes_the_next_free_one(
    tmp_path: Path, taken: int
) -> None:
    said: list[str] = []
    made = config.choose_ports(spec(tmp_path, gateway_port=taken), None, (), said.append)
    assert made.gateway_port > taken
    assert said == [f"port {taken} is taken; the gateway gets port {made.gateway_port}"]


@pytest.mark.parametrize("way", ["now", "before"])
def test_a_taken_port_that_was_asked_for_is_refused(tmp_path: Path, taken: int, way: str) -> None:
    given = spec(tmp_path, gateway_port=taken, port_fixed=way == "before")
    port = str(taken) if way == "now" else None
    with pytest.raises(UsageError, match=f"Port {taken} of the host is taken"):
        config.choose_ports(given, port, (), lambda _: None)


def test_a_taken_port_is_not_published(tmp_path: Path, taken: int) -> None:
    with pytest.raises(UsageError, match=f"Port {taken} of the host is taken"):
        config.choose_ports(
            spec(tmp_path, publish=(PortForward(taken, 80),)), None, (), lambda _: None
        )


def test_ports_that_other_claws_remember_are_not_chosen(tmp_path: Path) -> None:
    other = spec(tmp_path, name="other")
    new = spec(tmp_path, gateway_port=other.gateway_port, ssh_port=other.ssh_port)
    made = config.choose_ports(new, None, [other], lambda _: None)
    assert {f.host for f in made.forwards}.isdisjoint({f.host for f in other.forwards})


def test_the_gateway_makes_way_for_a_published_port(tmp_path: Path) -> None:
    new = spec(tmp_path)
    new = replace(new, publish=(PortForward(new.gateway_port, 80),))
    made = config.choose_ports(new, None, (), lambda _: None)
    assert made.gateway_port != new.publish[0].host


@pytest.mark.parametrize("workspace", ["", "data", "data/instances/x", "cache", "cache/images"])
def test_a_workspace_around_or_in_vclaws_folders_is_refused(tmp_path: Path, workspace: str) -> None:
    home = Home(tmp_path / "cache", tmp_path / "data")
    with pytest.raises(UsageError, match="lie within each other"):
        config.check_outside(tmp_path / workspace, home)


def test_a_link_to_vclaws_folder_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to("project")
    with pytest.raises(UsageError):
        config.check_outside(tmp_path / "project", Home(tmp_path / "link/x", tmp_path / "link/y"))


def test_a_workspace_beside_vclaws_folders_is_fine(tmp_path: Path) -> None:
    config.check_outside(tmp_path / "data2", Home(tmp_path / "cache", tmp_path / "data"))


def test_variables_come_from_files_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=1\n  B=2 \nC=a=b\nHOSTS\nE=\n")
    options = RunOptions(env=["A=3", "D=with space", "HOSTS"], env_file=[str(file)])
    found = config.environment(options, {"HOSTS": "from here"})
    assert found == {
        "A": "3",
        "B": "2",
        "C": "a=b",
        "D": "with space",
        "E": "",
        "HOSTS": "from here",
    }


@pytest.mark.parametrize("text", ["", "=1", "1A=1", "A-B=1", "A B=1", "MISSING", "A=\0", "Ä=1"])
def test_a_bad_variable_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--env"):
        config.environment(RunOptions(env=[text]), {})


def test_a_bad_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nexport B=2\n")
    with pytest.raises(UsageError, match="line 2"):
        config.environment(RunOptions(env_file=[str(file)]), {})


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        config.environment(RunOptions(env_file=[str(file)]), {})
