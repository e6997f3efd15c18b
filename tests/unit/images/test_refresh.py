"""`vclaw image fetch --refresh`: a newer image takes the place of the cached one, once verified."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import VCLAW
from tests.support.image_server import Fault, ImageServer, Key, qcow2
from vclaw.cli import main
from vclaw.errors import VclawError
from vclaw.home import Home, ImagePaths
from vclaw.images import debian, http, store
from vclaw.images.debian import Tools
from vclaw.model import ImageRef, host_arch
from vclaw.progress import Silent

OLD, NEW = qcow2(payload=b"old" * 1000), qcow2(payload=b"newer" * 1000)
NOBLE = ImageRef("ubuntu", "24.04", host_arch())


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = http.Client
    monkeypatch.setattr(store, "Client", lambda say: plain(say, sleep=lambda _: None))


@pytest.fixture
def refresh(image_server: ImageServer, home: Home, tmp_path: Path) -> Callable[..., str]:
    """Refreshes a ref and returns what was said."""

    def call(ref: ImageRef = NOBLE) -> str:
        said: list[str] = []
        progress = Silent()
        progress.say = said.append  # type: ignore[method-assign]
        store.refresh(home, ref, progress, image_server.env(tmp_path))
        return "\n".join(said)

    return call


def content(home: Home) -> bytes:
    assert store.load(home, NOBLE) is not None
    return home.image(NOBLE).image.read_bytes()


def test_a_release_that_stands_is_asked_for_and_not_downloaded(
    image_server: ImageServer, home: Home, refresh: Callable[..., str]
) -> None:
    path = image_server.publish(OLD)
    refresh()
    assert "is up to date" in refresh()
    assert image_server.ranges(path) == [None]
    assert content(home) == OLD


def test_a_release_that_moved_replaces_the_cached_image(
    image_server: ImageServer, home: Home, refresh: Callable[..., str]
) -> None:
    image_server.publish(OLD)
    refresh()
    before = store.load(home, NOBLE)
    image_server.publish(NEW)
    assert "there is a newer ubuntu:24.04" in refresh()
    assert content(home) == NEW
    assert store.load(home, NOBLE) != before
    assert not home.image(NOBLE).refresh.exists()


@pytest.mark.parametrize("how", ["digest", "signature", "gone"])
def test_the_cached_image_stays_where_the_new_one_is_not_verified(
    image_server: ImageServer, home: Home, refresh: Callable[..., str], how: str
) -> None:
    path = image_server.publish(OLD)
    refresh()
    folder = path.rsplit("/", 1)[0]
    image_server.publish(NEW)
    if how == "digest":
        image_server.files[path] = NEW + b"more"
    elif how == "signature":
        sums = image_server.files[f"{folder}/SHA256SUMS"]
        assert isinstance(sums, bytes)
        image_server.files[f"{folder}/SHA256SUMS.gpg"] = Key().sign(sums)
    else:
        image_server.fail(path, *[Fault(status=404)] * 9)
    with pytest.raises(VclawError):
        refresh()
    assert content(home) == OLD
    assert {p.name for p in home.image(NOBLE).root.iterdir()} == {
        "SHA256SUMS",
        "SHA256SUMS.gpg",
        "image.img",
        "image.json",
    }


def test_a_broken_refresh_goes_on_where_it_stopped(
    image_server: ImageServer, home: Home, refresh: Callable[..., str]
) -> None:
    image_server.publish(OLD)
    refresh()
    path = image_server.publish(NEW)
    image_server.fail(path, Fault(cut=1000), *[Fault(status=503)] * http.ATTEMPTS)
    with pytest.raises(VclawError):
        refresh()
    assert content(home) == OLD
    refresh()
    assert content(home) == NEW
    assert image_server.ranges(path)[-1] == "bytes=1000-"


@pytest.mark.parametrize("moved", range(5))
def test_a_replacement_that_was_cut_short_is_ended_by_the_next_fetch(
    image_server: ImageServer,
    home: Home,
    refresh: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    moved: int,
) -> None:
    """Cut before one of the four files moves (the list, its signature, image.img, image.json)."""
    image_server.publish(OLD)
    refresh()
    path = image_server.publish(NEW)
    replace, replaced = Path.replace, []

    def cut(self: Path, target: Path) -> Path:
        if self.parent.name == "refresh" and target.parent == home.image(NOBLE).root:
            replaced.append(target)
            if len(replaced) > moved:
                raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with contextlib.suppress(KeyboardInterrupt):
            refresh()
    assert len(replaced) == min(moved + 1, 4)
    before = len(image_server.ranges(path))
    refresh()
    assert content(home) == NEW
    assert len(image_server.ranges(path)) == before
    assert not home.image(NOBLE).refresh.exists()


def test_a_claw_that_copies_the_image_gets_all_of_it_before_it_is_replaced(
    image_server: ImageServer, home: Home, refresh: Callable[..., str], tmp_path: Path
) -> None:
    image_server.publish(OLD)
    refresh()
    image_server.publish(NEW)
    command = [VCLAW, "image", "fetch", "ubuntu:24.04", "--refresh"]
    env = {**os.environ, **image_server.env(tmp_path)}
    with store.steady(home, NOBLE.key):
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
        new = home.image(NOBLE).refresh / "image.json"
        deadline = time.monotonic() + 30
        while not new.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert content(home) == OLD
    assert child.wait(30) == 0
    assert content(home) == NEW


def test_an_image_that_is_not_cached_is_fetched(
    image_server: ImageServer, home: Home, refresh: Callable[..., str]
) -> None:
    image_server.publish(NEW)
    refresh()
    assert content(home) == NEW


def test_a_dated_image_never_changes(
    image_server: ImageServer, home: Home, refresh: Callable[..., str]
) -> None:
    dated = ImageRef("ubuntu", "24.04", host_arch(), "20260930")
    image_server.publish(OLD, serial="20260930")
    refresh(dated)
    image_server.publish(NEW, serial="20260930")
    assert "using cached image" in refresh(dated)
    assert home.image(dated).image.read_bytes() == OLD


def test_a_debian_image_is_built_anew_with_its_kernel(
    home: Home, refresh: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[Path] = []

    def build(ref: ImageRef, paths: ImagePaths, *_rest: object) -> None:
        assert ref.name == "debian:12"
        builds.append(paths.root)
        number = len(builds)
        paths.image.write_bytes(f"image {number}".encode().ljust(4096, b"\0"))
        paths.kernel.write_bytes(f"kernel {number}".encode())
        paths.initrd.write_bytes(f"initrd {number}".encode())

    tools = Tools(Path("/bin/true"), Path("/bin/true"), Path("/bin/true"), None)
    monkeypatch.setattr(debian, "check", lambda _: tools)
    monkeypatch.setattr(debian, "build", build)
    ref = ImageRef("debian", "12", host_arch())
    paths = home.image(ref)
    refresh(ref)
    refresh(ref)
    assert builds == [paths.root, paths.refresh]
    assert paths.image.read_bytes().startswith(b"image 2")
    assert (paths.kernel.read_bytes(), paths.initrd.read_bytes()) == (b"kernel 2", b"initrd 2")
    assert store.load(home, ref) is not None
    assert not paths.refresh.exists()


def test_the_command_takes_the_flag(
    own_home: Path,
    image_server: ImageServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in image_server.env(tmp_path).items():
        monkeypatch.setenv(name, value)
    image_server.publish(OLD)
    assert main(["image", "fetch", "ubuntu:24.04"]) == 0
    image_server.publish(NEW)
    assert main(["image", "fetch", "ubuntu:24.04"]) == 0
    assert (own_home / "images/ubuntu_24.04/image.img").read_bytes() == OLD
    assert main(["image", "fetch", "ubuntu:24.04", "--refresh"]) == 0
    assert (own_home / "images/ubuntu_24.04/image.img").read_bytes() == NEW
    capsys.readouterr()
