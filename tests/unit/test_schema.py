"""Records of an older vclaw, of a newer one, and damaged ones: of every kind alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vclaw import approvals, disk, identity, runtime, schema
from vclaw.claws import glance, record
from vclaw.errors import VclawError
from vclaw.home import Home, ImagePaths, RuntimePaths
from vclaw.images import meta
from vclaw.paths import ClawPaths
from vclaw.project_file import ProjectFile


@dataclass(frozen=True)
class Lamp:
    """Version 3 of an invented record: 1 had `watts` as text, 2 no `colour`."""

    watts: int
    colour: str


STEPS: tuple[schema.Step, ...] = (
    lambda old: {**old, "watts": int(old["watts"])},
    lambda old: {**old, "colour": "white"},
)

LAMP = Lamp(40, "white")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lamp.json"


def load(path: Path) -> Lamp:
    return schema.load(path, Lamp, STEPS, "Make a new lamp.")


@pytest.mark.parametrize(
    "stored",
    [
        {"schema": 1, "watts": "40"},
        {"schema": 2, "watts": 40},
        {"schema": 3, "watts": 40, "colour": "white"},
    ],
    ids=["1", "2", "3"],
)
def test_every_older_version_is_brought_up_to_date(path: Path, stored: dict[str, Any]) -> None:
    path.write_text(json.dumps(stored))
    assert load(path) == LAMP
    assert json.loads(path.read_text()) == stored, "reading changes nothing on the disk"


def test_what_is_written_is_of_todays_version(path: Path) -> None:
    stored = schema.to_json(LAMP, STEPS)
    assert stored == {"schema": 3, "watts": 40, "colour": "white"}
    path.write_text(json.dumps(stored))
    assert load(path) == LAMP


@pytest.mark.parametrize(
    "stored",
    [
        {"watts": 40, "colour": "red"},
        {"schema": 0, "watts": 40, "colour": "red"},
        {"schema": True, "watts": "40"},
        {"schema": "3", "watts": 40, "colour": "red"},
        {"schema": 3, "watts": 40},
        {"schema": 3, "watts": "40", "colour": "red"},
        {"schema": 3, "watts": True, "colour": "red"},
        {"schema": 3, "watts": 40, "colour": "red", "smell": "none"},
        {"schema": 1},
        {"schema": 1, "watts": "many"},
        {"schema": 1, "watts": []},
    ],
    ids=json.dumps,
)
def test_a_record_of_no_version_is_damaged(path: Path, stored: dict[str, Any]) -> None:
    path.write_text(json.dumps(stored))
    with pytest.raises(VclawError, match=r"lamp\.json is damaged: .+") as caught:
        load(path)
    assert not isinstance(caught.value, schema.NewerError)
    assert caught.value.hint == "Make a new lamp."


def test_a_record_that_is_not_there_or_no_file_is_told_apart(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(path)
    path.mkdir()
    with pytest.raises(VclawError, match="cannot be read"):
        load(path)


READERS: dict[str, Callable[[Path], object]] = {
    "claw.json": lambda folder: record.load(ClawPaths(folder)),
    "secrets.json": lambda folder: identity.load(ClawPaths(folder)),
    "disk.json": lambda folder: disk.load(ClawPaths(folder).disk_meta),
    "image.json": lambda folder: meta.load(ImagePaths(folder).meta),
    "manifest.json": lambda folder: runtime.load(RuntimePaths(folder).manifest),
    "approvals.json": lambda folder: approvals.approved(
        Home(folder, folder), ProjectFile(folder / "vclaw.yaml", {}, {})
    ),
}


def test_what_lists_claws_at_a_glance_reads_the_version_of_today() -> None:
    assert schema.version(record.STEPS) == glance.SCHEMA


@pytest.mark.parametrize("name", READERS)
def test_a_newer_record_of_any_kind_asks_for_a_newer_vclaw(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({"schema": 99, "what": "nobody knows"}))
    with pytest.raises(schema.NewerError, match=rf"{name} was written by a newer vclaw") as caught:
        READERS[name](tmp_path)
    assert caught.value.hint.startswith("Upgrade vclaw")


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_record_of_any_kind_says_what_to_do(tmp_path: Path, name: str) -> None:
    for content in (b"", b"{", b"[]", b"\xff\x00", b'{"schema": 1, "x": 5}', b"[" * 100_000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VclawError, match=f"{name} is damaged") as caught:
            READERS[name](tmp_path)
        assert caught.value.hint
