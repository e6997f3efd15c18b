"""How far a project's file may reach into the host without the user's word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vclaw import approvals, project_file
from vclaw.approvals import Reach
from vclaw.cli import run as run_verb
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.project_file import ProjectFile
from vclaw.settings import Setting

SETTINGS = run_verb.settings() | {
    "later": Setting("later", "later", "text", False, ""),
    "switch": Setting("switch", "switch", "switch", False, ""),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "project"
    (folder / "sub").mkdir(parents=True)
    return folder


def read(project: Path, text: str) -> ProjectFile:
    (project / "vclaw.yaml").write_text(text)
    return project_file.read(project / "vclaw.yaml", SETTINGS)


def reach(project: Path, text: str) -> Reach:
    file = read(project, text)
    return approvals.reach(file, approvals.variables_of(file))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: x\nready-timeout-secs: 9\nno-wait: true",
        "read-only-workspace: true",
        "read-only-workspace: false",
        "cpus: 4\nmemory-mib: 4096\ndisk-gib: 20",
        "image: ubuntu:24.04@20260930",
        "image: debian:bookworm",
        "workspace: .",
        "workspace: sub",
        "network: none",
        "switch: false",
    ],
)
def test_what_stays_within_the_guest_needs_no_approval(project: Path, text: str) -> None:
    assert reach(project, text) == frozenset()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("workspace: ..", "give the guest the folder {}"),
        ("port: 9000", "take port 9000 of this host for the gateway"),
        ("publish: [8080:80]", "publish a port of the guest on this host: 8080:80"),
        ("cpus: 5", "use 5 processors"),
        ("memory-mib: 4097", "use 4097 MiB of memory"),
        ("disk-gib: 21", "use up to 21 GiB of disk"),
        ("image: ./disk.img", "boot the disk image {}/project/disk.img"),
        ("image: disk.img", "boot the disk image disk.img"),
        ("openclaw-version: 2020.1.1", "fetch and install OpenClaw 2020.1.1"),
        ("ca-cert: ca.pem", "give the guest the certificates in {}/project/ca.pem"),
        ("env: [HOME]", "give the guest this host's variable HOME"),
        ("env: [BASE_URL=http://x]", "set the variable BASE_URL in the guest"),
        ("model: openai/gpt-5", "let the agent use the model openai/gpt-5"),
        (
            "model-base-url: http://x/v1",
            "send what the agent reads, and the provider's key, to http://x/v1",
        ),
        ("state: ../st", "give the guest OpenClaw's state in {}/st"),
        ("later: 'false'", "later: false"),
        ("switch: true", "switch: true"),
    ],
)
def test_what_reaches_further_is_named(project: Path, text: str, asked: str) -> None:
    assert approvals.need_approval(frozenset(), reach(project, text)) == [
        asked.format(project.parent)
    ]


@pytest.mark.parametrize(
    ("old", "new", "asked"),
    [
        ("publish: [1:1, 2:2]", "publish: [2:2]", 0),
        ("publish: [1:1]", "publish: [1:1, 2:2]", 1),
        ("publish: [1:1]", "publish: [1:2]", 1),
        ("memory-mib: 9000", "memory-mib: 8000", 0),
        ("memory-mib: 8000", "memory-mib: 9000", 1),
        ("cpus: 9\nport: 80", "cpus: 1", 0),
        ("env: [A=1]", "env: [A=1]\nname: other", 0),
        ("env: [A=1]", "env: [A=2]", 1),
        ("env: [A=1]", "env: [A]", 1),
        ("env: [A]", "env: [A, B]", 1),
    ],
)
def test_only_what_goes_beyond_the_last_approval_is_asked(
    project: Path, old: str, new: str, asked: int
) -> None:
    before, after = reach(project, old), reach(project, new)
    assert len(approvals.need_approval(before, after)) == asked


def test_a_link_that_leads_elsewhere_now_is_asked_again(project: Path) -> None:
    link = project / "data"
    link.symlink_to("sub")
    before = reach(project, "workspace: data")
    link.unlink()
    link.symlink_to("/etc")
    after = reach(project, "workspace: data")
    assert approvals.need_approval(before, after) == ["give the guest the folder /etc"]


def test_an_env_file_that_the_guest_can_write_counts_by_what_it_says(project: Path) -> None:
    (project / ".env").write_text("A=1\n# note\nSECRET_OF_THE_HOST\n")
    before = reach(project, "env-file: [.env]")
    assert {value.partition("=")[0] for _, value in before} == {"A", "SECRET_OF_THE_HOST"}
    (project / ".env").write_text("A=1\nSECRET_OF_THE_HOST\nMORE\n")
    asked = approvals.need_approval(before, reach(project, "env-file: [.env]"))
    assert asked == ["give the guest this host's variable MORE"]


def test_the_users_own_env_file_counts_by_its_path(project: Path) -> None:
    own = project.parent / "own.env"
    own.write_text("A=1\n")
    assert reach(project, "env-file: [../own.env]") == {("env-file", str(own))}
    text = "env-file: [../own.env]\nworkspace: .."
    assert ("env-file", str(own)) not in reach(project, text)  # now the guest can write it


def test_no_value_of_a_variable_is_kept(project: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "home")
    text = "env: [KEY=planted-secret]"
    file = read(project, text)
    approvals.approve(home, file, reach(project, text))
    assert "planted-secret" not in home.approvals.read_text()
    assert home.approvals.stat().st_mode & 0o777 == 0o600


def test_a_line_of_a_foreign_file_is_not_quoted(project: Path) -> None:
    (project / ".env").symlink_to(project / "credentials")
    (project / "credentials").write_text("[planted secret]\n")
    with pytest.raises(UsageError, match="line 1: this names no variable") as caught:
        reach(project, "env-file: [.env]")
    assert "planted" not in caught.value.message + caught.value.hint


def test_a_missing_env_file_is_named_with_its_line(project: Path) -> None:
    with pytest.raises(UsageError, match=r"vclaw\.yaml, line 2: .*no\.env does not exist"):
        reach(project, "cpus: 1\nenv-file: [no.env]")


def test_a_name_made_to_fool_the_reader_is_shown_escaped(project: Path) -> None:
    (project / "a").symlink_to(f"{project}/\x1b[2Kb")
    asked = approvals.need_approval(frozenset(), reach(project, "ca-cert: a"))
    assert asked[0].isprintable()


def test_an_approval_holds_for_its_file_alone(project: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "home")
    one = read(project, "port: 80")
    two = read(project / "sub", "port: 80")
    wanted = reach(project, "port: 80")
    approvals.approve(home, one, wanted)
    assert approvals.approved(home, one) == wanted
    assert approvals.approved(home, two) == frozenset()
    approvals.approve(home, two, wanted)
    assert approvals.approved(home, one) == wanted


@pytest.mark.parametrize(
    "value",
    ["", "[]", "{}", '{"schema": 2, "files": {}}', '{"schema": 1, "files": []}', None],
)
def test_damaged_approvals_are_an_error_and_never_a_yes(
    project: Path, tmp_path: Path, value: str | None
) -> None:
    home = Home(tmp_path, tmp_path)
    file = read(project, "port: 80")
    entry = {"schema": 1, "files": {str(file.path): {"reach": [["port"]]}}}
    home.approvals.write_text(json.dumps(entry) if value is None else value)
    with pytest.raises(VclawError, match=r"approvals\.json (is damaged|was written by a newer)"):
        approvals.approved(home, file)
