"""apply.py's parts that need no guest, imported from its file as the guest runs it."""

from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vclaw import seed

GUEST = Path(seed.__file__).with_name("guest")

apply = SimpleNamespace(**runpy.run_path(str(GUEST / "apply.py"), run_name="apply"))


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({}, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": None}, {"a": None}),
        (
            {"a": [{"id": 1, "mine": 1}, {"id": 2}]},
            {"a": [{"id": 1, "b": 3}]},
            {"a": [{"id": 1, "mine": 1, "b": 3}, {"id": 2}]},
        ),
        ({"a": [{"id": 1}]}, {"a": [4]}, {"a": [4]}),
    ],
)
def test_vclaws_settings_are_laid_over_the_users(
    base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]
) -> None:
    before = json.dumps([base, over])
    assert apply.merge(base, over) == merged
    assert json.dumps([base, over]) == before


def test_a_merged_list_is_a_copy() -> None:
    over = {"origins": ["a"]}
    apply.merge({}, over)["origins"].append("b")
    assert over == {"origins": ["a"]}


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("", '""'),
        ("plain", '"plain"'),
        ("two words # no comment", '"two words # no comment"'),
        ('a"b', r'"a\"b"'),
        ("it's", '"it\'s"'),
        ("$HOME `id`", r'"\$HOME \`id\`"'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nbreak", '"line\nbreak"'),
        ('\\"', r'"\\\""'),
        ("ünïcode", '"ünïcode"'),
    ],
)
def test_a_value_is_quoted_for_systemd(value: str, quoted: str) -> None:
    assert apply.quote(value) == quoted
    assert as_systemd_reads(quoted) == value


def as_systemd_reads(text: str) -> str:
    """A value in double quotes by the rules of systemd.exec(5), EnvironmentFile=."""
    assert text[0] == text[-1] == '"'
    result, characters = "", iter(text[1:-1])
    for character in characters:
        assert character != '"', "an inner quote would end the value"
        if character == "\\":
            following = next(characters)
            result += following if following in '"\\`$' else character + following
        else:
            result += character
    return result


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o440])
def test_a_written_file_has_its_mode_and_nothing_beside_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "folder" / "file"
    for text in ("first", "second"):
        apply.write(path, text, mode)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == mode
        assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_that_is_right_already_takes_no_space(tmp_path: Path) -> None:
    """A guest whose disk is full boots all the same, for its user to clear up."""
    path = tmp_path / "file"
    apply.write(path, "same", 0o600)
    before = path.stat().st_ino
    apply.write(path, "same", 0o600)
    assert path.stat().st_ino == before
    for text, mode in (("other", 0o600), ("other", 0o644)):
        apply.write(path, text, mode)
        assert (path.read_text(), path.stat().st_mode & 0o777) == (text, mode)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    apply.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        apply.write(path, "\ud800")
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("text", "config"),
    [(None, {}), ("{}", {}), ('{"gateway": {"port": 1}}', {"gateway": {"port": 1}})],
)
def test_the_users_configuration_is_read(
    tmp_path: Path, text: str | None, config: dict[str, Any]
) -> None:
    path = tmp_path / "openclaw.json"
    if text is not None:
        path.write_text(text)
    assert apply.read_config(path) == config


def test_a_configuration_in_json5_is_read_by_openclaws_own_parser(tmp_path: Path) -> None:
    """A node of a few lines stands in for the guest's: it gets the text and says JSON."""
    runtime = tmp_path / "openclaw"
    (runtime / "bin").mkdir(parents=True)
    (runtime / "lib/openclaw/node_modules/openclaw").mkdir(parents=True)
    node = runtime / "bin/node"
    node.write_text(
        f"#!{sys.executable}\nimport sys\nassert 'json5' in sys.argv[2]\n"
        "text = sys.stdin.read()\nassert text == '{a: 1, // mine\\n}', text\n"
        "print('{\"a\": 1}')\n"
    )
    node.chmod(0o755)
    path = tmp_path / "openclaw.json"
    path.write_text("{a: 1, // mine\n}")
    module = runpy.run_path(str(GUEST / "apply.py"), {"RUNTIME": runtime}, run_name="apply")
    module["read_config"].__globals__["RUNTIME"] = runtime
    assert module["read_config"](path) == {"a": 1}


@pytest.fixture
def guest_at(tmp_path: Path) -> Any:
    """apply.py with its folders below `tmp_path`."""
    module = runpy.run_path(str(GUEST / "apply.py"), run_name="apply")
    names = module["main"].__globals__
    for name in ("SEED", "RUN", "STATE", "CACHE"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        names[name] = folder
    names["REPORT"] = names["RUN"] / "report.json"
    names["LAID"] = tmp_path / "laid.json"
    return names


def test_a_twin_becomes_another_machine_once(guest_at: Any, tmp_path: Path) -> None:
    for name in ("TWIN", "MACHINE_ID", "RANDOM_SEED"):
        guest_at[name] = tmp_path / "etc" / name
        guest_at[name].parent.mkdir(exist_ok=True)
    called: list[tuple[str, ...]] = []
    guest_at["call"] = lambda *words: called.append(words)
    guest_at["MACHINE_ID"].write_text("the claw's\n")
    guest_at["RANDOM_SEED"].write_text("the claw's")

    guest_at["twin"]({"hostname": "no-twin"})
    assert guest_at["MACHINE_ID"].read_text() == "the claw's\n"
    assert guest_at["RANDOM_SEED"].exists()

    for _ in range(2):
        guest_at["twin"]({"machine_id": "b" * 32})
    assert guest_at["MACHINE_ID"].read_text() == "b" * 32 + "\n"
    assert not guest_at["RANDOM_SEED"].exists()
    assert called == [("systemctl", "restart", "systemd-journald.service")]
    guest_at["twin"]({"machine_id": "c" * 32})  # a twin of the twin
    assert guest_at["MACHINE_ID"].read_text() == "c" * 32 + "\n"


def test_the_users_own_settings_and_origins_stay(
    guest_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    path = guest_at["STATE"] / "openclaw.json"
    mine = {
        "mine": 1,
        "gateway": {"port": 1, "controlUi": {"allowedOrigins": ["http://me", "http://new"]}},
    }
    path.write_text(json.dumps(mine))
    new = {"gateway": {"port": 2, "controlUi": {"allowedOrigins": ["http://new"]}}}
    guest_at["configuration"]({"openclaw": new, "uid": 1, "gid": 1})
    assert json.loads(path.read_text()) == {
        "mine": 1,
        "gateway": {"port": 2, "controlUi": {"allowedOrigins": ["http://new", "http://me"]}},
    }
    assert path.stat().st_mode & 0o777 == 0o600


def with_server(name: str, url: str, **more: Any) -> dict[str, Any]:
    """A configuration with one model server."""
    return {
        "gateway": {"controlUi": {"allowedOrigins": []}},
        "models": {"providers": {name: {"baseUrl": url, **more}}},
    }


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        (with_server("b", "http://b"), {"b"}),
        ({"gateway": {"controlUi": {"allowedOrigins": []}}}, set()),
        (with_server("a", "http://a2"), {"a"}),
    ],
)
def test_a_model_server_that_vclaw_set_before_goes_when_it_is_not_wanted_any_more(
    guest_at: Any, monkeypatch: pytest.MonkeyPatch, now: dict[str, Any], kept: set[str]
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    path = guest_at["STATE"] / "openclaw.json"
    path.write_text(json.dumps(with_server("mine", "http://mine")))

    def apply_settings(wanted: dict[str, Any]) -> dict[str, Any]:
        guest_at["configuration"]({"openclaw": wanted, "uid": 1, "gid": 1})
        return dict(json.loads(path.read_text())["models"]["providers"])

    first = with_server("a", "http://a", models=[{"id": "m"}])
    assert set(apply_settings(first)) == {"mine", "a"}
    assert set(apply_settings(now)) == {"mine", *kept}
    assert set(apply_settings(now)) == {"mine", *kept}


def test_a_model_server_that_the_user_changed_since_stays(
    guest_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    path = guest_at["STATE"] / "openclaw.json"
    settings = {"openclaw": with_server("a", "http://a"), "uid": 1, "gid": 1}
    guest_at["configuration"](settings)
    path.write_text(json.dumps(with_server("a", "http://the-users")))
    guest_at["configuration"]({**settings, "openclaw": with_server("b", "http://b")})
    assert set(json.loads(path.read_text())["models"]["providers"]) == {"a", "b"}


def test_an_unchanged_configuration_is_not_written(
    guest_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    path = guest_at["STATE"] / "openclaw.json"
    new = {"gateway": {"controlUi": {"allowedOrigins": ["http://new"]}}}
    path.write_text(json.dumps(new))
    before = path.stat().st_ino
    guest_at["configuration"]({"openclaw": new, "uid": 1, "gid": 1})
    assert path.stat().st_ino == before


def test_the_state_of_a_new_claw_holds_its_configuration_alone(
    guest_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else OpenClaw takes it for an old installation and migrates it, at every first start.
    warm = Path("/run/vclaw-warm")
    plain = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda self, **how: self == warm or plain(self, **how))
    monkeypatch.setattr(os, "chown", lambda *_: None)
    new = {"gateway": {"controlUi": {"allowedOrigins": []}}}
    guest_at["configuration"]({"openclaw": new, "uid": 1, "gid": 1})
    assert [path.name for path in guest_at["STATE"].iterdir()] == ["openclaw.json"]


@pytest.fixture
def compiled(guest_at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """apply.py with a runtime disk that holds compiled code; nothing is run."""
    (tmp_path / "runtime/compile-cache/v24.19.0-x64-cf738c9d").mkdir(parents=True)
    guest_at["RUNTIME"] = tmp_path / "runtime"
    monkeypatch.setattr(os, "chown", lambda *_: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    return guest_at


def test_the_disks_compiled_code_lies_under_the_users_own(compiled: Any) -> None:
    mounts: list[tuple[Any, ...]] = []
    compiled["mount"] = lambda *words: mounts.append(words)
    compiled["compile_cache"]({"uid": 1234, "gid": 5})
    cache, name = compiled["CACHE"], "v24.19.0-x64-cf738c9d-1234"
    lower = compiled["RUNTIME"] / "compile-cache/v24.19.0-x64-cf738c9d"
    options = f"lowerdir={lower},upperdir={cache}/own/{name},workdir={cache}/work/{name}"
    assert mounts == [("overlay", cache / "compile" / name, "overlay", options)]
    assert (cache / "own" / name).is_dir()
    assert (cache / "work" / name).is_dir()


def test_a_guest_without_overlayfs_goes_without_the_disks_compiled_code(
    compiled: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def mount(*_words: object) -> None:
        raise subprocess.CalledProcessError(32, ["mount"], stderr=b"unknown filesystem type")

    compiled["mount"] = mount
    compiled["compile_cache"]({"uid": 1234, "gid": 5})
    assert "unknown filesystem type" in capsys.readouterr().out


@pytest.mark.parametrize("ca", ["", "-----BEGIN CERTIFICATE-----\n"])
def test_the_environment_holds_token_and_the_users_variables(guest_at: Any, ca: str) -> None:
    guest = {
        "emulated": True,
        "ca": ca,
        "placeholders": {"KEY": "none"},
        "env": {"KEY": 'a"b', "HOME": "/mine"},
        "token": "t",
    }
    guest_at["environment"](guest)
    path = guest_at["RUN"] / "openclaw.env"
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert lines["OPENCLAW_GATEWAY_TOKEN"] == '"t"'
    assert lines["KEY"] == r'"a\"b"'
    assert lines["HOME"] == '"/mine"'
    assert lines["VCLAW_WARM"] == '"1"'
    assert ("NODE_EXTRA_CA_CERTS" in lines) is bool(ca)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_step_is_reported_and_ends_the_work(guest_at: Any) -> None:
    done: list[str] = []

    def good(_guest: object) -> None:
        done.append("good")

    def bad(_guest: object) -> None:
        raise OSError("no such device")

    (guest_at["SEED"] / "guest.json").write_text('{"generation": "g1"}')
    guest_at["STEPS"] = (good, bad, good)
    assert guest_at["main"]() == 1
    report = json.loads(guest_at["REPORT"].read_text())
    assert (report["applied"], report["error"]) == ("", "bad: OSError: no such device")
    assert [step["name"] for step in report["steps"]] == done == ["good"]


def test_the_generation_is_reported_when_every_step_is_done(guest_at: Any) -> None:
    def good(_guest: object) -> None:
        report = json.loads(guest_at["REPORT"].read_text()) if guest_at["REPORT"].exists() else {}
        assert not report.get("applied")

    (guest_at["SEED"] / "guest.json").write_text('{"generation": "g1"}')
    guest_at["STEPS"] = (good, good)
    assert guest_at["main"]() == 0
    assert json.loads(guest_at["REPORT"].read_text())["applied"] == "g1"


@pytest.mark.parametrize("name", ["apply.py", "agent.py", "holders.py"])
def test_guest_files_are_python_3_9_and_need_no_package(name: str) -> None:
    """Debian 11's Python; annotations are never evaluated there."""
    tree = ast.parse((GUEST / name).read_text(), feature_version=(3, 9))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    beside = {path.stem for path in GUEST.glob("*.py")}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | beside
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
