"""What `vclaw prune` takes, and what it leaves."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.templates import lay_over, plant
from vclaw import boot, fsutil, prune, runtime
from vclaw.claws import record
from vclaw.cli import main
from vclaw.home import Home
from vclaw.hypervisor.process import Process, start_mark
from vclaw.model import ClawSpec, ImageRef, host_arch
from vclaw.paths import ClawPaths
from vclaw.prune import Found, Uses
from vclaw.templates import store as templates

IMAGE = ImageRef("debian", "12", host_arch())
KEY = runtime.key(runtime.DEFAULT_VERSION, host_arch())


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


def image(home: Home, ref: ImageRef = IMAGE) -> Path:
    """A cached image of one MiB."""
    paths = home.image(ref)
    paths.root.mkdir(parents=True)
    paths.image.write_bytes(b"x" * 2**20)
    meta = {
        "schema": 1,
        "ref": ref.name,
        "distro": ref.distro,
        "version": ref.version,
        "arch": ref.arch,
        "serial": ref.serial,
        "digest": "sha256:0",
        "source": "",
        "signed_by": "",
        "format": "raw",
        "boot": "firmware",
        "cmdline": "",
        "size": 2**20,
        "virtual_size": 2**20,
        "fetched_at": "2026-01-31T12:00:00Z",
    }
    fsutil.write_json(paths.meta, meta)
    return paths.root


def runtime_disk(home: Home, key: str = KEY) -> Path:
    paths = home.runtime(key)
    paths.root.mkdir(parents=True)
    paths.disk.write_bytes(b"x" * 4096)
    paths.manifest.write_text("{}")
    return paths.root


def claw(home: Home, tmp_path: Path, *, with_disk: bool) -> ClawPaths:
    paths = home.claw("demo")
    paths.root.mkdir(parents=True)
    spec = ClawSpec("demo", IMAGE, runtime.DEFAULT_VERSION, tmp_path, 1, 2048, 20, 18789, 2222)
    record.save(paths, spec)
    if with_disk:
        disk = {"format": "raw", "virtual_size": 1, "image": "", "digest": "", "boot": "firmware"}
        fsutil.write_json(paths.disk_meta, {"schema": 1, **disk, "cmdline": "", "unsynced": ""})
    return paths


def pruned(home: Home, *, dry_run: bool = False) -> list[tuple[str, str, str]]:
    items, _ = prune.prune(home, dry_run=dry_run)
    return [(item.kind, item.name, item.kept) for item in items]


def test_without_claws_all_of_the_cache_goes(home: Home) -> None:
    folders = [image(home), runtime_disk(home)]
    assert pruned(home) == [("image", "debian:12", ""), ("runtime", KEY, "")]
    assert [folder.exists() for folder in folders] == [False, False]
    assert pruned(home) == []


def test_a_dry_run_names_the_same_and_removes_nothing(home: Home) -> None:
    folders = [image(home), runtime_disk(home)]
    before = sorted(home.cache.rglob("*"))
    assert pruned(home, dry_run=True) == [("image", "debian:12", ""), ("runtime", KEY, "")]
    assert all(folder.exists() for folder in folders)
    assert sorted(home.cache.rglob("*")) == before


def test_a_claw_without_its_disk_keeps_image_and_runtime(home: Home, tmp_path: Path) -> None:
    image(home)
    runtime_disk(home)
    claw(home, tmp_path, with_disk=False)
    assert pruned(home) == []


def test_a_claw_with_its_disk_keeps_its_runtime_alone(home: Home, tmp_path: Path) -> None:
    image(home)
    runtime_disk(home)
    claw(home, tmp_path, with_disk=True)
    assert pruned(home) == [("image", "debian:12", "")]


def test_an_older_runtime_that_a_claw_was_started_with_stays(home: Home, tmp_path: Path) -> None:
    old = runtime_disk(home, "openclaw-old")
    paths = claw(home, tmp_path, with_disk=True)
    fsutil.write_json(paths.machine, {"runtime": str(old / "openclaw.squashfs")})
    assert pruned(home) == []
    paths.machine.unlink()
    assert pruned(home) == [("runtime", "openclaw-old", "")]


def test_a_runtime_that_a_running_machine_has_open_stays(home: Home, tmp_path: Path) -> None:
    disk = home.runtime("openclaw-old").disk
    runtime_disk(home, "openclaw-old")
    paths = claw(home, tmp_path, with_disk=True)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        argv = ("qemu", "-drive", f"if=none,id=runtime,file={disk},format=raw")
        process = Process(child.pid, start_mark(child.pid), argv)
        fsutil.write_json(paths.run, process.to_json())
        assert boot.is_up(paths)
        assert pruned(home) == []
    finally:
        child.communicate(b"\n", timeout=10)
    assert pruned(home) == [("runtime", "openclaw-old", "")]


def test_a_partial_download_goes_unless_a_claw_waits_for_it(home: Home, tmp_path: Path) -> None:
    paths = home.image(IMAGE)
    paths.root.mkdir(parents=True)
    paths.partial.write_bytes(b"x")
    waiting = claw(home, tmp_path, with_disk=False)
    assert pruned(home) == []
    waiting.spec.unlink()
    waiting.root.rmdir()
    assert pruned(home) == [("partial", "debian_12", "")]
    assert not paths.root.exists()


def test_the_rest_of_a_refresh_goes_and_its_image_stays(home: Home, tmp_path: Path) -> None:
    paths = home.image(IMAGE)
    image(home)
    paths.refresh.mkdir()
    (paths.refresh / "image.img.part").write_bytes(b"x" * 8192)
    claw(home, tmp_path, with_disk=False)
    assert pruned(home) == [("partial", "debian:12", "")]
    assert paths.image.exists()
    assert not paths.refresh.exists()


def test_the_rest_of_a_killed_build_goes(home: Home) -> None:
    scratch = home.runtimes / ".openclaw-1.building"
    (scratch / "tree").mkdir(parents=True)
    assert pruned(home) == [("partial", "openclaw-1", "")]
    assert not scratch.exists()


def test_a_template_goes_unless_a_claws_disk_lies_over_it(home: Home, tmp_path: Path) -> None:
    """A claw of another data folder counts as well."""
    used, unused = plant(home, "debian_12-a"), plant(home, "debian_12-b")
    folder = lay_over(Home(home.cache, tmp_path / "elsewhere"), "demo", used)
    assert pruned(home, dry_run=True) == [("template", "debian_12-b", "")]
    assert unused.root.exists()
    assert pruned(home) == [("template", "debian_12-b", "")]
    assert not unused.root.exists()
    assert used.meta.exists()
    shutil.rmtree(folder)
    assert pruned(home) == [("template", "debian_12-a", "")]
    assert not used.root.exists()


def test_a_broken_claw_keeps_every_template(home: Home) -> None:
    template = plant(home, "debian_12-a")
    lay_over(home, "demo", None)  # it has no claw.json
    assert pruned(home) == []
    assert template.meta.exists()


def test_the_rest_of_a_template_that_was_not_finished_goes(home: Home) -> None:
    scratch = home.templates / ".debian_12-a.building"
    (scratch / "run").mkdir(parents=True)
    (scratch / "memory").write_bytes(b"x" * 8192)
    assert pruned(home) == [("partial", "debian_12-a", "")]
    assert not scratch.exists()


def test_a_template_that_could_not_be_made_is_tried_again_after_a_prune(home: Home) -> None:
    fsutil.make_folder(home.templates)
    failed = home.template_failure("debian_12-a")
    failed.write_text("The disk is full.\n")
    prune.prune(home, dry_run=True)
    assert failed.exists()
    prune.prune(home, dry_run=False)
    assert not failed.exists()


def test_a_template_that_lost_its_description_is_a_rest(home: Home) -> None:
    template = plant(home, "debian_12-a")
    template.meta.unlink()
    assert pruned(home) == [("partial", "debian_12-a", "")]
    assert not template.root.exists()


def test_a_template_that_lost_its_description_stays_under_a_claws_disk(home: Home) -> None:
    template = plant(home, "debian_12-a")
    lay_over(home, "demo", template)
    template.meta.unlink()
    assert pruned(home) == []
    assert template.disk.exists()


def test_a_template_that_somebody_makes_stays_and_is_said(home: Home) -> None:
    scratch = home.templates / ".debian_12-a.building"
    scratch.mkdir(parents=True)
    fsutil.make_folder(home.locks)
    with templates.lock_of(home, "debian_12-a").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert pruned(home) == [("partial", "debian_12-a", "a process works on it")]
    assert scratch.exists()


HOLD = """
import sys
from pathlib import Path
from vclaw.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def busy(home: Home) -> Iterator[Path]:
    """Another process holds the lock of the image, as one does that fetches it."""
    image(home)
    home.locks.mkdir(parents=True, exist_ok=True)
    lock = home.locks / f"image-{IMAGE.key}"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    yield home.image(IMAGE).root
    child.communicate(b"\n", timeout=10)


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_process_works_on_stays_and_is_said(home: Home, busy: Path, dry_run: bool) -> None:
    assert pruned(home, dry_run=dry_run) == [("image", "debian:12", "a process works on it")]
    assert (busy / "image.img").exists()


def test_a_broken_claw_keeps_all_that_is_whole(home: Home, tmp_path: Path) -> None:
    image(home)
    claw(home, tmp_path, with_disk=True).spec.write_text("{")
    (home.runtimes / ".openclaw-1.building").mkdir(parents=True)
    assert pruned(home) == [("partial", "openclaw-1", "")]
    assert home.image(IMAGE).image.exists()


def test_choosing_takes_all_of_what_nobody_uses_and_the_rests_of_the_others() -> None:
    whole, rest = (Path("i"),), (Path("i/part"),)
    mine = Found("image", "a", "a", True, whole, rest)
    other = Found("image", "b", "b", True, whole, rest)
    chosen = prune.choose([mine, other], Uses(images=frozenset({"a"})))
    assert chosen == [(mine, "partial", rest), (other, "image", whole)]


def test_the_command_says_what_it_frees(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    image(home)
    assert main(["prune", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "would free 1.0 MiB"
    assert main(["prune", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 2**20 <= result["freed_bytes"] < 2**20 + 65536
    assert result["items"][0]["name"] == "debian:12"


def test_an_empty_home_frees_nothing_and_is_not_made(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune"]) == 0
    assert capsys.readouterr().out == "freed 0.0 MiB\n"
    assert not own_home.exists()
