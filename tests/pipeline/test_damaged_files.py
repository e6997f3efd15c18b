"""Every file that vclaw reads back, damaged in every way: each command works or says why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.world import World
from tests.support.command import CLOSED_URL
from vclaw import boot, fsutil, runtime
from vclaw.claws import prepare
from vclaw.cli.main import main
from vclaw.home import ImagePaths, RuntimePaths
from vclaw.hypervisor.process import Process


def image(world: World) -> ImagePaths:
    return world.home.image(world.spec.image)


def runtime_paths(world: World) -> RuntimePaths:
    return world.home.runtime(runtime.key(world.spec.openclaw_version, world.spec.image.arch))


FILES: dict[str, Callable[[World], Path]] = {
    "claw.json": lambda world: world.paths.spec,
    "secrets.json": lambda world: world.paths.secrets,
    "guest.json": lambda world: world.paths.guest,
    "machine.json": lambda world: world.paths.machine,
    "run.json": lambda world: world.paths.run,
    "ready.json": lambda world: world.paths.ready,
    "error.json": lambda world: world.paths.last_error,
    "suspended.json": lambda world: world.paths.suspended,
    "timeline.json": lambda world: world.paths.timeline,
    "installed.json": lambda world: world.paths.installed,
    "disk.json": lambda world: world.paths.disk_meta,
    "doit.db": lambda world: world.paths.doit_db,
    "seed.iso.sha256": lambda world: world.paths.root / "seed.iso.sha256",
    "image.json": lambda world: image(world).meta,
    "image.img.part.json": lambda world: image(world).partial_meta,
    "manifest.json": lambda world: runtime_paths(world).manifest,
    "accelerator.json": lambda world: world.home.accelerator,
    "digests.json": lambda world: world.home.digests,
    "approvals.json": lambda world: world.home.approvals,
}


def other_types(value: Any) -> Any:
    """JSON of the same form in which every value is of another type."""
    if isinstance(value, dict):
        return {key: other_types(item) for key, item in value.items()} or 5
    if isinstance(value, list):
        return {"0": other_types(value[0])} if value else {}
    return {} if isinstance(value, str) else "x"


def other_texts(value: Any) -> Any:
    """JSON of the same form in which every text is one that cannot be printed."""
    if isinstance(value, dict):
        return {key: other_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [other_texts(item) for item in value]
    return "\ud800\x1b[2J\n" if isinstance(value, str) else value


def as_json(content: bytes, change: Callable[[Any], Any]) -> bytes:
    try:
        return json.dumps(change(json.loads(content))).encode()
    except ValueError:
        return b"{}"


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "binary": lambda _: bytes(range(256)) * 40,
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "deep": lambda _: b'{"a":' * 50_000,
    "from the future": lambda content: as_json(content, lambda v: {**v, "schema": 99, "new": [1]}),
    "other types": lambda content: as_json(content, other_types),
    "other texts": lambda content: as_json(content, other_texts),
    "a folder": lambda _: None,
}

LOOKING = (
    ("ps",),
    ("ps", "--json"),
    ("inspect", "demo"),
    ("inspect", "demo", "--json"),
    ("timeline", "demo"),
    ("timeline", "demo", "--json"),
    ("logs", "demo", "--serial"),
    ("logs", "demo"),
    ("open", "demo"),
    ("ssh-config", "demo"),
    ("verify", "demo"),
    ("image", "ls"),
    ("prune", "--dry-run"),
    ("completion", "--words", "refs"),
    ("config", "show"),
)
"""What changes nothing."""

LIFE = (
    ("suspend", "demo"),
    ("resume", "demo", "--ready-timeout-secs", "5"),
    ("start", "demo", "--ready-timeout-secs", "5"),
    ("stop", "demo"),
    ("start", "demo", "--ready-timeout-secs", "5"),
    ("prune",),
    ("stop", "demo", "--force"),
    ("rm", "demo", "--yes", "--force"),
)
"""What does; after the last one nothing of the claw may be left, whatever was damaged."""


@pytest.fixture
def ran(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, Process]]:
    """A ready claw named demo and a stopped one named other; every file of FILES is there."""
    monkeypatch.setenv("VCLAW_UBUNTU_URL", CLOSED_URL)
    monkeypatch.setenv("VCLAW_DEBUG", "1")  # an error that nobody expects is a traceback here
    monkeypatch.chdir(world.spec.workspace)
    assert main(["start", "demo"]) == 0
    world.second_claw("other").prepare()
    now = {"schema": 1}
    fsutil.write_json(world.paths.last_error, {**now, "message": "it was not ready in time"})
    fsutil.write_json(world.paths.suspended, {**now, "suspension": "s1"})
    fsutil.write_json(image(world).partial_meta, {"sha256": "0" * 64, "url": "http://x/"})
    fsutil.write_json(world.home.accelerator, {"host": {}, "outcomes": {}})
    fsutil.write_json(world.home.digests, {"/x": {"facts": [1, 2, 3], "sha256": "0" * 64}})
    fsutil.write_json(world.home.approvals, {**now, "files": {"/x": {"reach": [["port", "80"]]}}})
    for name, path in FILES.items():
        assert path(world).is_file(), name
    process = boot.current(world.paths)
    assert process is not None
    yield world, process
    process.end(patience=0.0)


def put(path: Path, content: bytes | None) -> None:
    """Let a path be a file with this content, or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


def vclaw(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command in this process; (exit status, stdout). A failure is told in a sentence."""
    status = main(list(words))
    said = capsys.readouterr()
    assert status in (0, 1, 2), (words, status)
    assert "Traceback" not in said.err
    assert "internal error" not in said.err
    if status and words[0] not in ("verify", "doctor"):
        assert "vclaw: " in said.err, words
    return status, said.out


@pytest.mark.parametrize("name", FILES)
def test_looking_works_or_says_why_not(
    ran: tuple[World, Process], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = ran
    path = FILES[name](world)
    good = path.read_bytes()
    for how, damage in DAMAGE.items():
        put(path, damage(good))
        for words in LOOKING:
            try:
                status, out = vclaw(capsys, *words)
            except Exception as error:
                raise AssertionError(f"{' '.join(words)} with {name} {how}") from error
            if words == ("ps", "--json"):
                rows = {row["name"]: row for row in json.loads(out)}
                assert rows["other"]["status"] == "stopped", how
                assert set(rows) == {"demo", "other"}
                if name == "run.json" and rows["demo"]["status"] != "ready":
                    assert rows["demo"]["status"] == "broken", how
                    assert f"process {process.pid}" in rows["demo"]["last_error"]
                assert rows["demo"]["pid"] == process.pid
            if words == ("ps",):
                assert status == 0
                assert len(out.splitlines()) == 3, (how, out)
                assert "\x1b" not in out
    put(path, good)
    assert process.alive
    assert vclaw(capsys, "verify", "demo")[0] == 0


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        pytest.param("from the future", marks=pytest.mark.full),
        pytest.param("other types", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_a_claw_can_always_be_stopped_and_removed(
    ran: tuple[World, Process], name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world, process = ran
    path = FILES[name](world)
    put(path, DAMAGE[how](path.read_bytes()))
    for words in LIFE:
        try:
            vclaw(capsys, *words)
        except Exception as error:
            raise AssertionError(f"{' '.join(words)} with {name} {how}") from error
    assert not world.paths.root.exists()
    assert not process.alive


def test_doctor_tells_of_every_damage(
    ran: tuple[World, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    world, _ = ran
    for path in FILES.values():
        put(path(world), b'{"schema": 99, "what": "is this"}')
    for words in (("doctor",), ("doctor", "--deep")):
        status, out = vclaw(capsys, *words)
        assert status == 1
        for name in ("claw.json", "image.json", "manifest.json"):
            assert f"{name} was written by a newer vclaw" in out
        put(world.paths.run, b"")


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"\xff" * 5000])
def test_plain_doit_begins_a_damaged_database_anew(world: World, content: bytes) -> None:
    database = world.home.data / "doit.db"
    put(database, content)
    done = world.doit("seed:demo")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert database.read_bytes().startswith(b"SQLite format 3")


def test_a_run_in_a_damaged_house_makes_it_whole_or_says_why_not(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be made again is made again: the caches, the seed, doit's database."""
    world.run()
    world.kill()
    for name in ("image.json", "manifest.json", "digests.json", "doit.db", "seed.iso.sha256"):
        put(FILES[name](world), b"\xff\x00")
    for name in ("guest.json", "machine.json", "timeline.json", "ready.json", "error.json"):
        put(FILES[name](world), b"[]")
    assert vclaw(capsys, "start", "demo")[0] == 0
    assert os.path.getsize(world.paths.doit_db) > 1000  # noqa: PTH202 - doit's own file
    assert prepare.record.load(world.paths) == world.spec
