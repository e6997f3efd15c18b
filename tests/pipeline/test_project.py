"""A project's vclaw.yaml through the installed command: run, init, config, allow, completion."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pipeline.world import World
from tests.support.command import VCLAW, run_vclaw, show
from vclaw import identity, runtime


def project(world: World, *lines: str) -> Path:
    """The world's workspace with a vclaw.yaml of the world's image and these lines."""
    file = world.spec.workspace / "vclaw.yaml"
    base = (f"image: {world.spec.image.path}", "disk-gib: 1", "cpus: 1", "memory-mib: 2048")
    file.write_text("\n".join((*base, *lines)) + "\n")
    return file


def vclaw(
    world: World, *argv: str, status: int = 0, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder, without a terminal."""
    folder = world.spec.workspace if cwd is None else cwd
    before = ("env", "-C", str(folder))
    done = run_vclaw(*argv, env={**world.env, **env}, before=before)
    assert done.returncode == status, show(done)
    assert "Traceback" not in done.stderr
    return done


def at_terminal(world: World, answer: str, *argv: str) -> tuple[int, str]:
    """Run the command with a terminal and answer its question; (exit status, what it wrote)."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [VCLAW, *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=world.spec.workspace,
        env={**os.environ, **world.env},
    )
    os.close(slave)
    said, deadline, answered = b"", time.monotonic() + 60, False
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.2)[0]:
            try:
                said += os.read(master, 4096)
            except OSError:  # the other side is closed
                break
        if b"[y/N]" in said and not answered:
            answered = True
            os.write(master, answer.encode() + b"\n")
    os.close(master)
    return child.wait(10), said.decode()


def names(world: World) -> list[str]:
    return [claw["name"] for claw in json.loads(vclaw(world, "ps", "--json").stdout)]


def test_run_needs_no_flags_once_the_file_is_approved(world: World) -> None:
    world.build_runtime()
    version = runtime.DEFAULT_VERSION
    project(world, "name: new", f"openclaw-version: {version}", "env: [FROM_HOST, B=2]")
    refused = vclaw(world, "run", status=2, FROM_HOST="1")
    assert f"`vclaw allow {world.spec.workspace}/vclaw.yaml` approves it." in refused.stderr
    assert "give the guest this host's variable FROM_HOST" in refused.stderr
    assert names(world) == ["demo"]
    vclaw(world, "allow")
    ran = vclaw(world, "run", "--env", "B=3", FROM_HOST="1").stdout
    assert "clawid: new" in ran
    assert "status: ready" in ran
    assert identity.load(world.home.claw("new")).env == {"FROM_HOST": "1", "B": "3"}
    vclaw(world, "rm", "new")


def test_the_file_of_another_folder_counts_with_workspace_or_name(world: World) -> None:
    world.build_runtime()
    project(world, "name: new")
    folder, elsewhere = str(world.spec.workspace), world.home.data.parent
    vclaw(world, "allow", folder, cwd=elsewhere)
    vclaw(world, "run", "--no-wait", "--workspace", folder, cwd=elsewhere)
    shown = vclaw(world, "config", "show", "--name", "new", "--json", cwd=elsewhere)
    settings = json.loads(shown.stdout)["settings"]
    assert settings["memory-mib"] == {"value": "2048", "from": "vclaw.yaml:4"}
    assert settings["openclaw-version"]["from"] == "claw.json"
    assert settings["workspace"] == {"value": folder, "from": "claw.json"}
    vclaw(world, "rm", "--force", "new")


def test_a_file_cannot_take_the_claw_of_another_workspace(world: World) -> None:
    folder = world.home.data.parent / "other"
    folder.mkdir()
    (folder / "vclaw.yaml").write_text("name: demo\nmemory-mib: 2100\n")
    world.prepare()
    refused = vclaw(world, "run", status=2, cwd=folder)
    assert "its workspace is" in refused.stderr


def test_a_value_that_cannot_be_is_refused_with_its_line(world: World) -> None:
    file = project(world, "name: Bad Name")
    vclaw(world, "allow")
    assert f"({file}, line 5, says so.)" in vclaw(world, "run", status=2).stderr


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2), ("", 2)])
def test_a_terminal_is_asked_with_what_is_new(world: World, answer: str, status: int) -> None:
    world.build_runtime()
    project(world, "name: new")
    vclaw(world, "allow")
    project(world, "name: new", "env: [ONE=1]")
    left, said = at_terminal(world, answer, "run", "--no-wait")
    assert left == status, said
    assert "- set the variable ONE in the guest" in said
    assert "boot the disk image" not in said.partition("[y/N]")[0]  # was approved before
    if status == 0:
        assert identity.load(world.home.claw("new")).env == {"ONE": "1"}
        vclaw(world, "rm", "--force", "new")
    else:
        assert names(world) == ["demo"]


def test_init_writes_a_file_that_changes_nothing_and_never_another(world: World) -> None:
    before = json.loads(vclaw(world, "config", "show", "--json").stdout)
    vclaw(world, "init")
    after = json.loads(vclaw(world, "config", "show", "--json").stdout)
    assert after == {**before, "file": str(world.spec.workspace / "vclaw.yaml")}
    text = (world.spec.workspace / "vclaw.yaml").read_text()
    assert "is there already" in vclaw(world, "init", status=2).stderr
    assert (world.spec.workspace / "vclaw.yaml").read_text() == text


def test_config_show_makes_nothing_and_shows_no_secret(world: World) -> None:
    project(world, "env: [KEY=planted]", "port: 9000")
    before = sorted(world.home.data.rglob("*"))
    shown = vclaw(world, "config", "show", "--cpus", "2", "--env", "OTHER=planted")
    rows = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines()}
    assert rows["cpus"] == ["2", "flag"]
    assert rows["port"] == ["9000", "vclaw.yaml:6"]
    assert rows["env"] == ["KEY=…,", "OTHER=…", "vclaw.yaml:5,", "flag"]
    assert rows["no-wait"] == ["false", "default"]
    assert "- take port 9000 of this host for the gateway" in shown.stderr
    assert "planted" not in shown.stdout + shown.stderr
    assert sorted(world.home.data.rglob("*")) == before


def test_allow_without_a_file_says_what_to_do(world: World) -> None:
    assert "vclaw init" in vclaw(world, "allow", status=2).stderr
    vclaw(world, "init")
    assert "needs no approval" in vclaw(world, "allow").stdout
    assert not world.home.approvals.exists()


BASH = """\
eval "$(vclaw completion bash)"
COMP_LINE=$1 COMP_POINT=${#1}
_vclaw
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("vclaw compl", ["completion"]),
        ("vclaw run --memory", ["--memory-mib"]),
        ("vclaw stop ", ["demo"]),
        ("vclaw rm other de", ["demo"]),
        ("vclaw run deb", ["debian:12", "debian:13"]),
        ("vclaw run debian:1", ["12", "13"]),
        ("vclaw image fetch ubuntu:24", ["24.04"]),
        ("vclaw run --cpus 1 --env-file vcl", ["vclaw.yaml"]),
        ("vclaw config sh", ["show"]),
        ("vclaw env ", ["demo"]),
        ("vclaw env demo un", ["unset"]),
        ("vclaw port add ", ["demo"]),
    ],
)
def test_bash_completes_verbs_flags_claws_refs_and_files(
    world: World, line: str, offered: Sequence[str]
) -> None:
    project(world)
    path = f"{VCLAW.parent}{os.pathsep}{world.env['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", line],
        capture_output=True,
        text=True,
        cwd=world.spec.workspace,
        env={**os.environ, **world.env, "PATH": path},
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == offered, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_knows_every_verb_and_asks_for_claws_and_refs(world: World, shell: str) -> None:
    from vclaw.cli.main import VERBS

    script = vclaw(world, "completion", shell).stdout
    assert all(verb in script for verb in VERBS)
    assert "vclaw completion --words claws" in script
    assert "vclaw completion --words refs" in script


def test_a_shell_that_is_not_known_is_refused(world: World) -> None:
    assert "bash" in vclaw(world, "completion", status=2).stderr
    assert "bash" in vclaw(world, "completion", "tcsh", status=2).stderr
