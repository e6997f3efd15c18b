"""A glance at the claws: the same as a long look, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.support import sshd
from vclaw import fsutil
from vclaw.claws import glance, record, status
from vclaw.cli import ps
from vclaw.home import Home
from vclaw.model import ClawSpec, ImageRef, PortForward
from vclaw.paths import ClawPaths

REPOSITORY = Path(__file__).parents[3]

IMAGES = (
    ImageRef("debian", "12", "amd64"),
    ImageRef("ubuntu", "24.04", "arm64", serial="20260930.1"),
    ImageRef("file", "a" * 64, "amd64", path=Path("/images/x y.img")),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, tmp_path)


def made(home: Home, name: str, image: ImageRef = IMAGES[0]) -> tuple[ClawPaths, ClawSpec]:
    """A claw that was never booted, or was stopped in order."""
    spec = replace(sshd.spec(name, Path("/me")), image=image, publish=(PortForward(8080, 80),))
    paths = home.claw(name)
    paths.root.mkdir(parents=True)
    record.save(paths, spec)
    return paths, spec


def test_stopped_claws_are_listed_as_a_long_look_lists_them(home: Home) -> None:
    for number, image in enumerate(IMAGES):
        paths, _ = made(home, f"claw-{number}", image)
        os.utime(paths.spec, (1_700_000_000 + number, 1_700_000_000 + number))
    made(home, ".leaving")
    expected = [asdict(claw) for claw in status.all_of(home)]
    assert [row["status"] for row in expected] == ["stopped"] * 3
    assert list(glance.rows(str(home.instances)).values()) == expected


def test_without_claws_there_are_no_rows(home: Home) -> None:
    assert glance.rows(str(home.instances)) == {}


@pytest.mark.parametrize("file", ["run.json", "error.json"])
def test_a_claw_that_was_not_stopped_in_order_takes_a_long_look(home: Home, file: str) -> None:
    made(home, "fine")
    paths, _ = made(home, "other")
    (paths.root / file).write_text("{}")
    rows = glance.rows(str(home.instances))
    assert rows["other"] is None
    assert rows["fine"] is not None


def test_ps_takes_the_long_look_at_those_alone_that_need_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        made(home, name)
    (home.claw("b").root / "error.json").write_text('{"message": "it failed"}')
    expected = [asdict(claw) for claw in status.all_of(home)]
    looked: list[str] = []
    of = status.of
    monkeypatch.setattr(status, "of", lambda paths: looked.append(paths.root.name) or of(paths))
    monkeypatch.setenv("VCLAW_DATA_DIR", str(home.data))
    assert ps._claws() == expected
    assert looked == ["b"]


def test_ps_leaves_out_a_claw_that_is_removed_while_it_is_looked_at(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(home, "stays")
    monkeypatch.setattr(
        glance, "rows", lambda folder: {"gone": None, "stays": glance._stopped(f"{folder}/stays")}
    )
    monkeypatch.setenv("VCLAW_DATA_DIR", str(home.data))
    assert [claw["name"] for claw in ps._claws()] == ["stays"]


def test_a_brief_has_what_the_spec_has(home: Home) -> None:
    for number, image in enumerate(IMAGES):
        paths, spec = made(home, f"claw-{number}", image)
        seen = glance.brief(str(paths.root))
        assert seen is not None
        assert (seen.name, seen.image) == (spec.name, spec.image.name)
        assert seen.workspace == spec.workspace
        assert (seen.gateway_port, seen.ssh_port) == (spec.gateway_port, spec.ssh_port)


@pytest.mark.parametrize("member", sorted(record.to_json(sshd.spec("demo", Path("/me")))))
def test_a_spec_with_another_member_or_without_one_is_none(home: Home, member: str) -> None:
    paths, spec = made(home, "demo")
    value = record.to_json(spec)
    for other in ({**value, member: 1.5}, {key: value[key] for key in value if key != member}):
        fsutil.write_json(paths.spec, other)
        assert glance.brief(str(paths.root)) is None


def test_ps_of_stopped_claws_imports_nothing_that_takes_long(home: Home) -> None:
    made(home, "demo")
    code = (
        "import sys; sys.argv = ['vclaw', 'ps']; from vclaw.cli import main; status = main(); "
        "print(*sorted(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    # Without site: what an editable installation imports is none of ours.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "VCLAW_HOME": str(home.data)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1].split()[:3] == ["demo", "debian:12", "stopped"]
    imported = set(done.stderr.split())
    assert "vclaw.claws.glance" in imported
    slow = {"argparse", "dataclasses", "inspect", "pathlib", "subprocess", "typing", "vclaw.model"}
    assert not imported & slow
