"""claw.json, whole and damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vclaw.claws import glance, record, status
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.model import NONE, ClawSpec, ImageRef, PortForward
from vclaw.paths import ClawPaths

SPEC = ClawSpec(
    name="demo",
    image=ImageRef("debian", "12", "amd64"),
    openclaw_version="2026.9.6",
    workspace=Path("/me/project"),
    cpus=2,
    memory_mib=4096,
    disk_gib=20,
    gateway_port=18789,
    ssh_port=40022,
    port_fixed=True,
    publish=(PortForward(8080, 80),),
    network=NONE,
    allow_host_port=(11434,),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, tmp_path)


@pytest.fixture
def paths(home: Home) -> ClawPaths:
    """A claw named demo that is only recorded."""
    claw = home.claw("demo")
    claw.root.mkdir(parents=True)
    record.save(claw, SPEC)
    return claw


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, image=ImageRef("file", "a" * 64, "arm64", path=Path("/x.img"))),
        replace(SPEC, model="a/b", model_base_url="http://x", state=Path("/s")),
        replace(SPEC, read_only_workspace=True),
    ],
)
def test_a_spec_comes_back_as_it_was_saved(paths: ClawPaths, spec: ClawSpec) -> None:
    record.save(paths, spec)
    assert record.load(paths) == spec


def test_a_record_of_before_a_field_was_there_is_read(paths: ClawPaths) -> None:
    value = record.to_json(SPEC)
    for field in ("model", "model_base_url", "state", "read_only_workspace"):
        del value[field]
    paths.spec.write_text(json.dumps(value))
    assert record.load(paths) == SPEC


def damaged() -> dict[str, bytes]:
    """Contents of claw.json that no vclaw of today writes, by what is wrong with them."""
    good = record.to_json(SPEC)
    changes: dict[str, dict[str, object]] = {
        "future schema": {"schema": 2},
        "schema is text": {"schema": "1"},
        "unknown field": {"colour": "red"},
        "name of another claw": {"name": "other"},
        "no network of ours": {"network": "lan"},
        "host port is text": {"allow_host_port": ["ssh"]},
        "image is text": {"image": "debian:12"},
        "image is a number": {"image": 5},
        "image without fields": {"image": {}},
        "image's version is a number": {"image": {**good["image"], "version": 12}},
        "port is text": {"gateway_port": "18789"},
        "port is nothing": {"ssh_port": None},
        "cpus is a list": {"cpus": []},
        "workspace is a number": {"workspace": 5},
        "publish is a number": {"publish": 5},
        "state is a number": {"state": 5},
        "model is nothing": {"model": None},
        "read-only is text": {"read_only_workspace": "yes"},
        "publish holds text": {"publish": ["8080:80"]},
        "publish holds text for ports": {"publish": [{"host": "8080", "guest": 80}]},
    }
    contents = {what: json.dumps({**good, **change}).encode() for what, change in changes.items()}
    missing = {key: value for key, value in good.items() if key != "disk_gib"}
    return {
        **contents,
        "missing field": json.dumps(missing).encode(),
        "empty": b"",
        "cut off": json.dumps(good).encode()[:40],
        "binary": bytes(range(256)),
        "a list": b"[]",
        "deep": b"[" * 100_000,
    }


@pytest.mark.parametrize("what", damaged())
def test_a_damaged_record_is_shown_as_broken_with_a_reason(paths: ClawPaths, what: str) -> None:
    paths.spec.write_bytes(damaged()[what])
    with pytest.raises(VclawError) as caught:
        record.load(paths)
    assert "vclaw rm demo" in caught.value.hint or "damaged" in caught.value.message
    assert glance.brief(str(paths.root)) is None
    seen = status.of(paths)
    assert (seen.name, seen.status) == ("demo", "broken")
    assert "claw.json" in seen.last_error


def test_a_folder_without_a_record_is_shown_as_broken(paths: ClawPaths) -> None:
    paths.spec.unlink()
    assert status.of(paths).status == "broken"
    assert "missing" in status.of(paths).last_error


def test_a_record_that_cannot_be_read_is_shown_as_broken(paths: ClawPaths) -> None:
    paths.spec.unlink()
    paths.spec.mkdir()
    assert status.of(paths).status == "broken"


def test_a_broken_claw_hides_no_other(home: Home, paths: ClawPaths) -> None:
    for what, content in damaged().items():
        broken = home.claw("broken-" + what.replace(" ", "-").replace("'", ""))
        broken.root.mkdir()
        broken.spec.write_bytes(content)
    seen = {claw.name: claw.status for claw in status.all_of(home)}
    assert seen.pop("demo") == "stopped"
    assert set(seen.values()) == {"broken"}
    assert len(seen) == len(damaged())
    assert paths.root.exists()


def test_only_folders_of_claws_are_named(home: Home, paths: ClawPaths) -> None:
    (home.instances / ".removed-old-1234").mkdir()
    (home.instances / "a-file").touch()
    assert record.names(home) == [paths.root.name]
    assert record.names(Home(home.cache, home.data / "nowhere")) == []


@pytest.mark.parametrize(("word", "hint"), [("dmeo", "Did you mean demo?"), ("xyz", "vclaw ps")])
@pytest.mark.usefixtures("paths")
def test_an_unknown_name_is_refused_with_the_nearest(home: Home, word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no claw '{word}'") as caught:
        record.existing(home, word)
    assert hint in caught.value.hint


@pytest.mark.usefixtures("paths")
@pytest.mark.parametrize("name", ["..", ".", "", "demo/..", "demo/"])
def test_a_path_is_no_name(home: Home, name: str) -> None:
    with pytest.raises(UsageError):
        record.existing(home, name)
