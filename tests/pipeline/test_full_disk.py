"""A disk that is full at any moment: a sentence, nothing half made, and all is well with space."""

from __future__ import annotations

import errno
import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipeline import world as worlds
from tests.pipeline.world import World
from tests.support.image_server import ImageServer, qcow2
from tests.support.small_disk import SmallDisk, mounted
from vclaw import boot, fsutil, readiness
from vclaw.claws import prepare, record
from vclaw.cli.main import main
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.hypervisor.process import start_mark
from vclaw.images import store
from vclaw.images.refs import parse
from vclaw.progress import Silent
from vclaw.runtime import builder

STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 24, 29, 35, 50, 90, 150, 250, 270, 300, 350, 420)
"""Free pages of 4 KiB: each kind of write comes to be the one that fails."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="vclaw-") as name:
        yield Path(name)


@pytest.fixture
def disk(folder: Path) -> Iterator[SmallDisk]:
    yield from mounted(folder / "small", 8)


@pytest.fixture
def full_world(
    folder: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[World, SmallDisk]]:
    """A prepared claw whose home is the small disk; what steers the test lies elsewhere."""
    (folder / "w").mkdir()
    made = worlds.build(folder / "w")
    home = Home(disk.root, disk.root)
    made = replace(made, home=home, env={**made.env, "VCLAW_HOME": str(disk.root)})
    for name in ("VCLAW_CACHE_DIR", "VCLAW_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VCLAW_DEBUG", "1")
    monkeypatch.setattr(builder, "_build", worlds.small_runtime)
    monkeypatch.setattr(readiness, "LOOKS_APART", (0.05, 0.05))
    made.prepare()
    yield made, disk
    for name in record.names(home):
        process = boot.last(home.claw(name))
        if process is not None:
            process.end(patience=0.2)


def temporaries(root: Path) -> list[str]:
    """What an unfinished write leaves beside its target."""
    return [str(path) for path in root.rglob("*") if path.name.endswith((".tmp", ".part"))]


def processes(world: World) -> set[int]:
    """The virtual machines of this world that live now."""
    log = world.knobs / "starts"
    pids = [int(pid) for pid in log.read_text().split()] if log.exists() else []
    return {pid for pid in pids if start_mark(pid)}


def test_a_start_on_a_full_disk_fails_in_a_sentence_and_works_once_there_is_space(
    full_world: tuple[World, SmallDisk], capsys: pytest.CaptureFixture[str]
) -> None:
    world, disk = full_world
    failures = 0
    for pages in STEPS:
        disk.leave(pages)
        status = main(["start", "demo", "--ready-timeout-secs", "5"])
        said = capsys.readouterr().err
        assert temporaries(disk.root) == [], pages
        assert main(["ps", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert processes(world) == ({row["pid"]} if row["pid"] else set()), (pages, row)
        if status == 0:
            break
        failures += 1
        assert status in (1, 2)
        assert "No space left" in said or "missing" in said or "disk is full" in said, (pages, said)
    assert failures >= 8
    disk.empty()
    assert main(["start", "demo", "--ready-timeout-secs", "5"]) == 0
    capsys.readouterr()
    assert main(["ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "ready"


@pytest.mark.parametrize("verb", ["suspend", "stop", "rm"])
def test_a_claw_can_be_put_away_on_a_full_disk(
    full_world: tuple[World, SmallDisk], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world, disk = full_world
    world.run()
    disk.leave(0)
    words = [verb, "demo", "--yes"] if verb == "rm" else [verb, "demo"]
    status = main(words)
    said = capsys.readouterr().err
    if verb == "suspend":
        assert (status, "No space left" in said) == (1, True)
        assert len(processes(world)) == 1
        return
    assert status == 0, said
    assert processes(world) == set()


def test_a_download_on_a_full_disk_keeps_what_came_and_goes_on_from_there(
    disk: SmallDisk,
    image_server: ImageServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = qcow2(2**30, random.Random(3).randbytes(2 * 2**20))
    path = image_server.publish(image)
    env = image_server.env(tmp_path)
    home = Home(disk.root, disk.root)
    ref = parse("ubuntu:24.04")
    with monkeypatch.context() as patch:
        patch.setattr(fsutil, "require_space", lambda *_: None)  # it fills up in the meantime
        for pages in (0, 1, 2, 3, 4, 6, 40, 300):
            disk.leave(pages)
            with pytest.raises((VclawError, OSError)) as caught:
                store.fetch(home, ref, Silent(), env)
            assert "No space left" in str(caught.value)
            assert store.listing(home) == []
            assert not list(disk.root.rglob("*.tmp"))
    disk.empty()
    assert store.fetch(home, ref, Silent(), env).size == len(image)
    assert home.image(ref).image.read_bytes() == image
    assert image_server.ranges(path)[-1] not in (None, "bytes=0-"), "it went on from what was there"
    assert not list(disk.root.rglob("*.part*"))


def test_a_download_that_cannot_fit_is_refused_before_it_begins(
    disk: SmallDisk, image_server: ImageServer, tmp_path: Path
) -> None:
    image_server.publish(qcow2(2**30, bytes(4 * 2**20)))
    disk.leave(300)
    with pytest.raises(VclawError, match="missing"):
        store.fetch(
            Home(disk.root, disk.root), parse("ubuntu:24.04"), Silent(), image_server.env(tmp_path)
        )
    assert not list(disk.root.rglob("image.img*"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_cannot_be_synced_does_not_replace_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = tmp_path / "claw.json"
    fsutil.write_atomic(target, b"before")

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        fsutil.write_atomic(target, b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["claw.json"]
    assert target.read_bytes() == b"before"


def test_a_run_whose_files_cannot_be_synced_says_so_and_boots_nothing(
    full_world: tuple[World, SmallDisk],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world, disk = full_world

    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert main(["start", "demo"]) == 1
    assert "Input/output error" in capsys.readouterr().err
    assert (temporaries(disk.root), world.starts) == ([], 0)
    assert main(["start", "demo", "--ready-timeout-secs", "5"]) == 0


def test_a_home_that_became_read_only_is_told_and_can_still_be_looked_at(
    full_world: tuple[World, SmallDisk], capsys: pytest.CaptureFixture[str]
) -> None:
    world, disk = full_world
    world.run()
    world.kill()
    remount = os.spawnlp(os.P_WAIT, "mount", "mount", "-o", "remount,ro", str(disk.root))
    assert remount == 0
    try:
        for words in (["ps"], ["inspect", "demo"], ["verify", "demo"], ["image", "ls"]):
            assert main(words) == 0, capsys.readouterr().err
        capsys.readouterr()
        for words in (["start", "demo"], ["stop", "demo"], ["rm", "demo", "--yes"], ["prune"]):
            status, said = main(words), capsys.readouterr().err
            assert status in (1, 2) or words == ["prune"], words
            assert "Read-only" in said or "cannot be written" in said or words == ["prune"], said
    finally:
        os.spawnlp(os.P_WAIT, "mount", "mount", "-o", "remount,rw", str(disk.root))
    assert prepare.record.load(world.paths) == world.spec
    assert main(["start", "demo", "--ready-timeout-secs", "5"]) == 0
