"""Whatever a user types: a value or a sentence, never another exception."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.strategies import SPEC, only, quick, texts, values, words
from vclaw import config, ports, project_file, runtime, seed, variables
from vclaw.claws import record
from vclaw.cli import run as run_verb
from vclaw.cli.main import VERBS, main
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.hypervisor.machine import Machine, RootDisk, Share
from vclaw.hypervisor.qemu import argv
from vclaw.identity import Identity
from vclaw.images import refs
from vclaw.model import PortForward
from vclaw.paths import ClawPaths


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


@quick
@given(texts | words)
def test_a_port_is_a_number_or_refused(text: str) -> None:
    with only(UsageError):
        assert 1 <= ports.number(text, "--port") <= 65535
    with only(UsageError):
        found = ports.forward(text)
        assert 1 <= min(found.host, found.guest) <= max(found.host, found.guest) <= 65535


@quick
@given(st.integers(1, 65535), st.integers(1, 65535))
def test_every_pair_of_ports_can_be_published(host: int, guest: int) -> None:
    wanted = PortForward(host, guest)
    assert ports.forward(str(wanted)) == ports.forward(f"127.0.0.1:{wanted}") == wanted


@quick
@given(texts | words)
def test_a_ref_is_an_image_or_refused(home: Home, text: str) -> None:
    with only(UsageError):
        found = refs.parse(text, "amd64", home)
        assert re.fullmatch(r"[a-z0-9._]+", found.key), "a folder's name in the cache"
        assert refs.parse(found.name, "amd64", home) == found


@quick
@given(texts | words)
def test_a_name_is_a_hostname_or_refused(text: str) -> None:
    with only(UsageError):
        name = config.claw_name(RunOptions(name=text))
        assert re.fullmatch(r"[a-z0-9-]{1,40}", name)
        assert not name.startswith("-")


@quick
@given(texts)
def test_a_workspace_is_a_folder_or_refused(text: str) -> None:
    with only(UsageError):
        assert config.workspace(text).is_dir()


@quick
@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60))
def test_any_folder_gives_a_name_that_can_be_used(tmp_path: Path, text: str) -> None:
    folder = tmp_path / text
    try:
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError):
        return  # no such folder can be
    name = config.claw_name(RunOptions(workspace=str(folder)))
    assert config.claw_name(RunOptions(name=name)) == name


@quick
@given(texts | words, st.dictionaries(words, texts, max_size=3))
def test_a_variable_is_a_pair_or_refused(text: str, host: dict[str, str]) -> None:
    with only(UsageError):
        key, value = variables.resolve("--env", text, host)
        assert variables.NAME.fullmatch(key)
        assert "\0" not in value
    for where, line in variables.lines_of("FILE", text):
        with only(UsageError):
            variables.resolve(where, line, host)


@quick
@given(texts | words)
def test_seconds_and_versions_are_checked(text: str) -> None:
    with only(UsageError):
        assert 0 < run_verb.seconds(text) < 1e9
    if not runtime.recipe.valid_version(text):  # type: ignore[attr-defined]
        with pytest.raises(UsageError):
            runtime.resolve(text)


@quick
@given(
    st.one_of(
        texts,
        st.lists(st.tuples(st.sampled_from(sorted(run_verb.settings())), texts | words)).map(
            lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs)
        ),
        st.dictionaries(st.sampled_from(sorted(run_verb.settings())), values).map(
            lambda value: json.dumps(value)
        ),
    )
)
@example("publish: [2222:22]")
@example("a: &a [*a]")
@example("? [x]: y")
@example("name: !!python/object:os.system x")
@example("[" * 3000)
def test_any_vclaw_yaml_is_settings_or_refused_with_its_line(text: str) -> None:
    known = run_verb.settings()
    try:
        found = project_file.parse(text, Path("/p/vclaw.yaml"), known)
    except UsageError as error:
        assert "/p/vclaw.yaml, line " in error.message
        assert error.hint
        return
    for key in found.entries:
        found.value(known[key])


@quick
@given(st.binary(max_size=200))
def test_any_file_as_vclaw_yaml_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "vclaw.yaml"
    path.write_bytes(data)
    with only(UsageError):
        project_file.read(path, run_verb.settings())


def unescape(option: str) -> dict[str, str]:
    """A QEMU option's members, as QEMU splits them: two commas are one of the value."""
    parts = option.replace(",,", "\0").split(",")
    pairs = (part.replace("\0", ",").partition("=") for part in parts)
    return {key: value for key, _, value in pairs}


paths = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=300).map(
    lambda text: Path("/" + text)
)


@quick
@given(paths)
@example(Path("/a,readonly=on,b"))
@example(Path("/,,,"))
def test_qemu_gets_every_path_as_it_is(path: Path) -> None:
    machine = Machine("demo", "amd64", "tcg", 1, 2048, path, SPEC.forwards, (Share("state", path),))
    claw = ClawPaths(path)
    found = argv.build(Path("qemu"), machine, RootDisk(claw.disk, "raw"), claw)
    after = {word: unescape(found[i + 1]) for i, word in enumerate(found[:-1]) if word[0] == "-"}
    assert after["-fsdev"]["path"] == str(path)
    assert "readonly" not in after["-fsdev"]
    drives = [unescape(found[i + 1]) for i, word in enumerate(found) if word == "-drive"]
    assert [drive["file"] for drive in drives] == [str(claw.disk), str(claw.seed), str(path)]
    sockets = [unescape(found[i + 1]) for i, word in enumerate(found) if word == "-chardev"]
    assert {one["path"] for one in sockets} == {
        str(one) for one in (claw.channel, claw.serial_socket, claw.qmp, claw.qmp_status)
    }


@quick
@given(st.dictionaries(words, texts, max_size=3), texts, st.integers(0, 2**31))
def test_every_seed_is_valid_yaml_and_tells_the_guest_what_was_meant(
    env: dict[str, str], ca: str, uid: int
) -> None:
    who = Identity("token", "private", "public", "client", env)
    guest = seed.guest_settings(SPEC, who, owner=(uid, uid), emulated=True, ca=ca)
    files = seed.render(guest)
    for name in ("user-data", "meta-data", "network-config"):
        assert isinstance(yaml.safe_load(files[name]), dict)
    assert files["user-data"].startswith(b"#cloud-config\n")
    told = json.loads(files["vclaw/guest.json"])
    assert (told["env"], told["ca"], told["uid"]) == (env, ca, uid)


@quick
@given(texts)
def test_a_spec_of_any_workspace_comes_back(tmp_path: Path, text: str) -> None:
    spec = replace(SPEC, name=tmp_path.name, workspace=Path("/" + text))
    record.save(ClawPaths(tmp_path), spec)
    assert record.load(ClawPaths(tmp_path)) == spec


CLAW_VERBS = (
    *(
        ["env", "ls"],
        ["port", "ls"],
        ["inspect"],
        ["timeline"],
        ["open"],
        ["logs"],
        ["logs", "--qemu"],
        ["ssh-config"],
    ),
    *(["start"], ["stop"], ["suspend"], ["fork"], ["resume"], ["rm", "--yes"], ["verify"]),
    *(
        ["image", "rm"],
        ["image", "fetch"],
        ["template", "rm"],
        ["exec"],
        ["agent"],
        ["openclaw"],
        ["completion"],
    ),
)


@quick
@given(st.sampled_from(CLAW_VERBS), texts | words)
@pytest.mark.usefixtures("home")
def test_any_word_for_any_verb_is_refused_with_two_sentences(
    capfd: pytest.CaptureFixture[str], verb: list[str], text: str
) -> None:
    if text.startswith("-") or (verb[0] == "image" and refused_by_no_name(text)):
        return  # a flag; an image that there is
    with exits():
        assert main([*verb, text]) == 2
    said = capfd.readouterr().err
    assert "vclaw: " in said
    assert "internal error" not in said


def refused_by_no_name(text: str) -> bool:
    with contextlib.suppress(VclawError):
        refs.parse(text)
        return True
    return False


@contextlib.contextmanager
def exits() -> Any:
    """argparse ends the process itself for --help; nothing else may."""
    try:
        yield
    except SystemExit as error:
        assert error.code in (0, None)


FLAGS = sorted({"--" + key for key in run_verb.settings() if key != "image"} | {"--json"})


@quick
@given(st.lists(st.tuples(st.sampled_from(FLAGS), texts | words), max_size=4), texts | words)
def test_a_run_with_any_flags_and_no_such_processors_is_refused_and_makes_nothing(
    home: Home, capfd: pytest.CaptureFixture[str], flags: list[tuple[str, str]], ref: str
) -> None:
    given_flags = [word for pair in flags for word in pair]
    with exits():
        assert main(["run", *given_flags, "--cpus", "none", "--", ref]) == 2
    said = capfd.readouterr().err
    assert "internal error" not in said
    assert "Traceback" not in said
    assert not home.instances.exists()


def test_every_verb_is_tried_above_or_takes_no_word() -> None:
    others = {
        "run",
        "ps",
        "shell",
        "cp",
        "image",
        "prune",
        "doctor",
        "init",
        "config",
        "allow",
        "doit",
    }
    assert {verb[0] for verb in CLAW_VERBS} | others == set(VERBS)
