"""vclaw.yaml: what is accepted, what is refused and where, and what wins over what."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from vclaw import project_file
from vclaw.cli import run as run_verb
from vclaw.config import RunOptions
from vclaw.errors import UsageError
from vclaw.project_file import ProjectFile
from vclaw.settings import COMMAND_LINE_ONLY, Merged, merge

PATH = Path("/project/vclaw.yaml")

SETTINGS = run_verb.settings()


def parse(text: str) -> ProjectFile:
    return project_file.parse(text, PATH, SETTINGS)


def merged(
    text: str | None, existing: dict[str, Any] | None = None, **flags: Any
) -> tuple[dict[str, Any], dict[str, tuple[Any, str]]]:
    """(what is said, setting -> (value, source))."""
    file = parse(text) if text is not None else None
    result: Merged = merge(SETTINGS, flags, file, existing or {}, {"cpus": "4"})
    return dict(result.said), {row.key: (row.value, row.source) for row in result.rows}


def test_every_option_of_run_is_a_setting() -> None:
    dests = {setting.dest for setting in SETTINGS.values()}
    assert set(RunOptions.__dataclass_fields__) - {"project_env", "may_make"} <= dests
    assert not COMMAND_LINE_ONLY & set(SETTINGS)


@pytest.mark.parametrize(
    ("text", "flag", "said", "row"),
    [
        (None, None, None, (None, "default")),
        (None, False, False, (False, "flag")),
        (None, True, True, (True, "flag")),
        ("read-only-workspace: true", None, True, (True, "vclaw.yaml:1")),
        ("read-only-workspace: true", False, False, (False, "flag")),
        ("read-only-workspace: false", None, None, (None, "default")),
        ("read-only-workspace: false", True, True, (True, "flag")),
    ],
)
def test_a_flag_alone_takes_back_what_shields_the_workspace(
    text: str | None, flag: bool | None, said: bool | None, row: tuple[bool | None, str]
) -> None:
    found, rows = merged(text, read_only_workspace=flag)
    assert found.get("read_only_workspace") is said
    assert rows["read-only-workspace"] == row


def test_nothing_in_a_file_says_nothing() -> None:
    for text in ("", "# a comment\n", "---\n", "{}"):
        assert not parse(text).entries


def test_values_are_taken_as_they_are_written() -> None:
    file = parse(
        "image: debian:12\nport: 8080\nopenclaw-version: 2026.10\n"
        "publish:\n  - 2222:22\n  - 127.0.0.1:80:80\nname: '007'\nno-wait: true\n"
    )
    values = {key: file.value(SETTINGS[key]) for key in file.entries}
    assert values == {
        "image": "debian:12",
        "port": "8080",
        "openclaw-version": "2026.10",
        "publish": ["2222:22", "127.0.0.1:80:80"],
        "name": "007",
        "no-wait": True,
    }
    assert [item.line for item in file.entries["publish"]] == [5, 6]
    assert file.source("no-wait") == "vclaw.yaml:8"


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("\ncpu: 3", 2, "there is no setting 'cpu'", "Did you mean cpus?"),
        ("memory_mib: 3000", 1, "no setting 'memory_mib'", "Did you mean memory-mib?"),
        ("zzz: 1", 1, "no setting 'zzz'", "The settings are: image"),
        ("json: true", 1, "on the command line only", "--json"),
        ("cpus: two", 1, "cpus is 'two', and a whole number was meant", "cpus: 2"),
        ("cpus: 1.5", 1, "a whole number was meant", "cpus: 2"),
        ("cpus: -1", 1, "a whole number was meant", "cpus: 2"),
        ("cpus: [1]", 1, "cpus is a list, and a whole number was meant", "cpus: 2"),
        ("cpus:", 1, "cpus is empty", "cpus: 2"),
        ("cpus: 0x10", 1, "'0x10', and a whole number", "cpus: 2"),
        ("ready-timeout-secs: 5m", 1, "a number of seconds was meant", "900"),
        ("name: yes", 1, "name is 'yes', and a text was meant", 'quotes: "yes"'),
        ("name: {a: b}", 1, "name is a table", "my-claw"),
        ('name: "a\\e[2K"', 1, "a text was meant", "my-claw"),
        ('name: "a\\u202eb"', 1, "a text was meant", "my-claw"),
        ("name: !!binary aGk=", 1, "a text was meant", "my-claw"),
        ("publish: 8080:80", 1, "and a list was meant", "publish: [8080:80]"),
        ("publish:\n  - 80:80\n  - [1]", 3, "publish is a list, and a text", "[8080:80]"),
        ("no-wait: yes", 1, "true or false was meant", "no-wait: true"),
        ("no-wait: 1", 1, "true or false was meant", "no-wait: true"),
        ("cpus: 1\nname: a\ncpus: 2", 3, "cpus is there twice", "Line 1"),
        ("- cpus", 1, "KEY: VALUE", "The settings are"),
        ("cpus", 1, "KEY: VALUE", "The settings are"),
        ("[a]: b", 1, "a key is a list", "The settings are"),
        ("cpus: 1\nname: a: b", 2, "no YAML (mapping values are not allowed", "vclaw init"),
        ("cpus: 1\n---\ncpus: 2", 2, "no YAML", "vclaw init"),
        ("cpus: *nothing", 1, "no YAML (found undefined alias", "vclaw init"),
        ("cpus: 1\nname: \x1b", 2, "a character that YAML does not allow", "vclaw init"),
        ("[" * 5000, 1, "nested too deeply", "vclaw init"),
    ],
)
def test_bad_input_is_refused_with_its_line_and_what_was_meant(
    text: str, line: int, problem: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        parse(text)
    assert caught.value.message.startswith(f"/project/vclaw.yaml, line {line}: ")
    assert hint in caught.value.hint


def test_paths_start_at_the_files_folder_and_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "project"
    folder.mkdir()
    (folder / "ca.pem").symlink_to("/etc/hostname")
    (folder / "vclaw.yaml").write_text(
        "workspace: sub\nca-cert: ca.pem\nenv-file: [../.env]\nimage: ./disk.img\n"
    )
    file = project_file.read(folder / "vclaw.yaml", SETTINGS)
    assert {key: items[0].text for key, items in file.entries.items()} == {
        "workspace": str(folder / "sub"),
        "ca-cert": os.path.realpath("/etc/hostname"),
        "env-file": str(tmp_path.resolve() / ".env"),
        "image": str(folder / "disk.img"),
    }
    assert file.digest.startswith("sha256:")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_pipe, "not a regular file"),
        (Path.mkdir, "cannot be read"),
        (lambda path: path.symlink_to("/etc/passwd"), "is a link"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not text"),
        (lambda path: path.write_bytes(b"#" * 300_000), "more than"),
    ],
    ids=["pipe", "folder", "link", "binary", "huge"],
)
def test_what_is_no_plain_text_file_is_refused_at_once(
    tmp_path: Path, make: Any, problem: str
) -> None:
    make(tmp_path / "vclaw.yaml")
    with pytest.raises(UsageError, match=problem):
        project_file.read(tmp_path / "vclaw.yaml", SETTINGS)


def test_the_template_changes_nothing_as_it_is_and_is_right_once_uncommented() -> None:
    text = project_file.template(SETTINGS)
    assert not parse(text).entries
    uncommented = re.sub(r"^#(?=[a-z]|  - )", "", text, flags=re.MULTILINE)
    assert set(parse(uncommented).entries) == set(SETTINGS)


def test_flags_win_over_the_file_and_that_over_the_claw_and_that_over_defaults() -> None:
    existing = {"cpus": "1", "memory_mib": "2048", "disk_gib": "9"}
    said, rows = merged("memory-mib: 3000\ncpus: 2", existing, cpus="3")
    assert said == {"cpus": "3", "memory_mib": "3000"}
    assert rows["cpus"] == ("3", "flag")
    assert rows["memory-mib"] == ("3000", "vclaw.yaml:1")
    assert rows["disk-gib"] == ("9", "claw.json")
    assert merged(None)[1]["cpus"] == ("4", "default")


def test_flags_publish_instead_of_the_file() -> None:
    said, rows = merged("publish: [1:1]", publish=["2:2"])
    assert said == {"publish": ["2:2"]}
    assert rows["publish"] == (["2:2"], "flag")


def test_an_empty_flag_is_not_passed_over() -> None:
    assert merged("name: a", name="")[0] == {"name": ""}


def test_what_argparse_gives_without_flags_says_nothing() -> None:
    flags = {"env": [], "env_file": [], "no_wait": False, "cpus": None}
    assert merged(None, **flags)[0] == {}
    assert merged("no-wait: false")[0] == {"no_wait": False}


def test_variables_of_file_and_flags_come_together_without_their_values() -> None:
    said, rows = merged("env: [A=1, B, C=3]", {"env": ["Z="]}, env=["A=secret", "D"])
    assert said == {"env": ["A=secret", "D"]}
    assert rows["env"] == (["Z=…", "A=…", "B", "C=…", "D"], "secrets.json, vclaw.yaml:1, flag")
