"""Fetching into the cache from a server that behaves, and from one that does not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.image_server import Fault, ImageServer, Key, qcow2
from vclaw import fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.images import default, http, local, refs, store, verify
from vclaw.images.download import WrongDigestError
from vclaw.images.meta import ImageMeta
from vclaw.model import ImageRef, host_arch
from vclaw.progress import Silent

IMAGE = qcow2(3 * 2**30, random.Random(1).randbytes(3 * 2**20 + 7))
NOBLE = ImageRef("ubuntu", "24.04", host_arch())


class Told:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    task = Silent.task


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between attempts; no real time passes."""
    waited: list[float] = []
    plain = http.Client
    monkeypatch.setattr(store, "Client", lambda say: plain(say, sleep=waited.append))
    return waited


@pytest.fixture
def fetch(image_server: ImageServer, home: Home, tmp_path: Path) -> Callable[..., ImageMeta]:
    def call(ref: ImageRef = NOBLE, told: Told | None = None) -> ImageMeta:
        return store.fetch(home, ref, told or Told(), image_server.env(tmp_path))

    return call


Fetch = Callable[..., ImageMeta]


def _kept(home: Home) -> list[str]:
    """The files of the image's folder."""
    root = home.image(NOBLE).root
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def test_an_image_is_fetched_verified_and_described(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    meta = fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE
    assert _kept(home) == ["SHA256SUMS", "SHA256SUMS.gpg", "image.img", "image.json"]
    assert meta == store.load(home, NOBLE)
    assert meta.source == image_server.url + path
    assert meta.signed_by == image_server.key.fingerprint
    assert (meta.format, meta.virtual_size, meta.boot) == ("qcow2", 3 * 2**30, "firmware")


def test_a_cached_image_is_used_without_a_request(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    image_server.publish(IMAGE)
    fetch()
    os.utime(home.image(NOBLE).image, (1, 1))  # as a restored CI cache has it
    image_server.requests.clear()
    told = Told()
    fetch(told=told)
    assert told.lines == ["using cached image ubuntu:24.04"]
    assert image_server.requests == []


def test_a_wrong_digest_keeps_nothing(image_server: ImageServer, fetch: Fetch, home: Home) -> None:
    path = image_server.publish(IMAGE)
    image_server.files[path] = IMAGE[:-1] + b"x"
    with pytest.raises(WrongDigestError, match="digest"):
        fetch()
    assert _kept(home) == []


def test_a_wrong_signature_keeps_nothing_and_fetches_no_image(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    sums = image_server.files[path.rpartition("/")[0] + "/SHA256SUMS"]
    assert isinstance(sums, bytes)
    image_server.files[path.rpartition("/")[0] + "/SHA256SUMS.gpg"] = Key().sign(sums)
    with pytest.raises(verify.BadSignatureError):
        fetch()
    assert _kept(home) == []
    assert image_server.ranges(path) == []


def test_a_broken_connection_is_resumed_where_it_broke(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(cut=2**20), Fault(cut=2**20))
    fetch()
    first, *later = image_server.ranges(path)
    assert first is None
    assert len(later) == 2
    assert all(asked and 0 < int(asked[6:-1]) <= 2 * 2**20 for asked in later)
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_the_part_of_an_earlier_process_is_resumed(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(cut=2**20), *[Fault(status=503)] * http.ATTEMPTS)
    with pytest.raises(VclawError, match="503"):
        fetch()
    assert _kept(home) == ["image.img.part", "image.img.part.json"]
    size = home.image(NOBLE).partial.stat().st_size
    fetch()
    assert image_server.ranges(path)[-1] == f"bytes={size}-"
    assert home.image(NOBLE).image.read_bytes() == IMAGE
    assert _kept(home) == ["SHA256SUMS", "SHA256SUMS.gpg", "image.img", "image.json"]


def _leave_part(home: Home, content: bytes, sha256: str) -> None:
    paths = home.image(NOBLE)
    paths.root.mkdir(parents=True)
    paths.partial.write_bytes(content)
    fsutil.write_json(paths.partial_meta, {"sha256": sha256})


def _published_sha256(server: ImageServer, path: str) -> str:
    sums = server.files[path.rpartition("/")[0] + "/SHA256SUMS"]
    assert isinstance(sums, bytes)
    return sums.decode().split()[0]


def test_the_part_of_another_release_is_not_mixed_in(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    _leave_part(home, b"old" * 1000, "0" * 64)
    fetch()
    assert image_server.ranges(path) == [None]
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_a_damaged_part_is_fetched_again_from_the_start(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    _leave_part(home, b"damaged", _published_sha256(image_server, path))
    fetch()
    assert image_server.ranges(path) == ["bytes=7-", None]
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_a_part_that_is_complete_is_only_verified(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    _leave_part(home, IMAGE, _published_sha256(image_server, path))
    fetch()
    assert image_server.ranges(path) == [f"bytes={len(IMAGE)}-"]  # answered with 416
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_a_part_longer_than_the_file_is_fetched_again(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    _leave_part(home, IMAGE + b"more", _published_sha256(image_server, path))
    fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_a_server_that_ignores_ranges_sends_the_file_anew(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(cut=2**20), Fault(ignore_range=True))
    fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    image_server: ImageServer, fetch: Fetch, waits: list[float]
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(status=503, headers={"Retry-After": "9"}), Fault(status=500))
    told = Told()
    fetch(told=told)
    assert waits == [9.0, 2.0]
    assert "503" in told.lines[0]


def test_a_server_that_stays_busy_is_given_up(
    image_server: ImageServer, fetch: Fetch, waits: list[float]
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, *[Fault(status=503)] * 100)
    with pytest.raises(VclawError, match="503"):
        fetch()
    assert len(image_server.ranges(path)) == http.ATTEMPTS
    assert len(waits) == http.ATTEMPTS - 1


def test_a_release_that_moves_on_during_the_download_is_fetched_anew(
    image_server: ImageServer, fetch: Fetch, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = qcow2(2**30, b"newer" * 1000)
    path = image_server.publish(IMAGE)
    read = http.Client.read
    after: list[str] = []

    def read_then_move_on(client: http.Client, url: str) -> bytes:
        data = read(client, url)
        after.append(url)
        if len(after) == 2:  # list and signature are read, the image is not yet
            image_server.publish(newer)
        return data

    monkeypatch.setattr(http.Client, "read", read_then_move_on)
    fetch()
    assert image_server.ranges(path) == [None, None]
    assert home.image(NOBLE).image.read_bytes() == newer


def test_a_date_that_is_gone_names_those_that_are_there(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    image_server.publish(IMAGE, serial="20260901")
    image_server.publish(IMAGE, serial="20260930")
    gone = ImageRef("ubuntu", "24.04", host_arch(), "20240101")
    with pytest.raises(UsageError) as caught:
        fetch(gone)
    assert "ubuntu:24.04@20260930, ubuntu:24.04@20260901" in caught.value.hint
    assert not home.image(gone).root.exists()


def test_a_full_disk_is_noticed_before_anything_is_written(
    image_server: ImageServer, fetch: Fetch, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_server.publish(IMAGE)
    monkeypatch.setattr(fsutil, "free_bytes", lambda _: 2**20)
    with pytest.raises(UsageError, match=r"needs 4 MiB .*, and 3 MiB of it are missing"):
        fetch()
    assert _kept(home) == []


def test_several_processes_make_one_download(
    image_server: ImageServer, home: Home, tmp_path: Path
) -> None:
    path = image_server.publish(IMAGE)
    env = {**os.environ, **image_server.env(tmp_path), "VCLAW_HOME": str(home.cache)}
    command = [sys.executable, "-c", "import vclaw.cli,sys;sys.exit(vclaw.cli.main())"]
    command += ["image", "fetch", "ubuntu:24.04"]
    running = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors
    assert len(image_server.ranges(path)) == 1
    assert sum(b"using cached image" in text for text in errors) == 3


def test_a_corrupt_image_json_is_broken_and_the_others_work(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    image_server.publish(IMAGE)
    image_server.publish(IMAGE, "22.04")
    fetch()
    fetch(ImageRef("ubuntu", "22.04", host_arch()))
    home.image(NOBLE).meta.write_text("{")
    broken = {entry.key: entry.problem for entry in store.listing(home)}
    assert "damaged" in broken[NOBLE.key]
    assert broken[ImageRef("ubuntu", "22.04", host_arch()).key] == ""
    fetch()
    assert [entry.problem for entry in store.listing(home)] == ["", ""]


def test_a_shortened_image_is_fetched_again(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    image_server.publish(IMAGE)
    fetch()
    os.truncate(home.image(NOBLE).image, 1000)
    fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE


def test_remove_leaves_nothing_of_an_image(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    image_server.publish(IMAGE)
    fetch()
    store.remove(home, NOBLE)
    assert not home.image(NOBLE).root.exists()
    with pytest.raises(UsageError, match="not cached"):
        store.remove(home, NOBLE)


def test_a_local_file_is_copied_and_its_zeros_take_no_space(home: Home, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    content = qcow2() + bytes(8 * 2**20) + b"end"
    disk.write_bytes(content)
    ref = refs.parse(str(disk), home=home)
    meta = store.fetch(home, ref, Told(), {})
    image = home.image(ref).image
    assert image.read_bytes() == content
    assert image.stat().st_blocks * 512 < 4 * 2**20
    assert (meta.source, meta.digest) == (str(disk), f"sha256:{ref.version}")


def test_a_local_file_that_changed_since_is_refused(home: Home, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(qcow2())
    ref = refs.parse(str(disk), home=home)
    disk.write_bytes(qcow2(payload=b"changed"))
    paths = home.image(ref)
    paths.root.mkdir(parents=True)
    with pytest.raises(VclawError, match="changed"):
        local.copy(ref, paths, Told())
    assert list(paths.root.iterdir()) == []


def test_the_default_is_ubuntu_where_its_server_answers(
    image_server: ImageServer, home: Home, tmp_path: Path
) -> None:
    image_server.publish(IMAGE)
    ref, why = default.choose(home, image_server.env(tmp_path))
    assert (ref.name, "answers" in why) == ("ubuntu:24.04", True)


def test_the_default_is_debian_where_the_server_is_down(home: Home, tmp_path: Path) -> None:
    with ImageServer() as server:
        env = server.env(tmp_path)
    ref, why = default.choose(home, env)
    assert (ref.name, "does not answer" in why) == ("debian:12", True)


def test_the_default_asks_nobody_where_ubuntu_is_cached(
    image_server: ImageServer, fetch: Fetch, home: Home, tmp_path: Path
) -> None:
    image_server.publish(IMAGE)
    fetch()
    image_server.requests.clear()
    ref, why = default.choose(home, image_server.env(tmp_path))
    assert (ref.name, "is cached" in why) == ("ubuntu:24.04", True)
    assert image_server.requests == []


@pytest.mark.parametrize(
    "env", [{"VCLAW_UBUNTU_URL": "mirror.example"}, {"VCLAW_UBUNTU_KEYRING": "/nowhere/key.asc"}]
)
def test_settings_that_cannot_work_are_refused_before_anything_is_made(
    home: Home, env: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match=next(iter(env.values()))):
        store.fetch(home, NOBLE, Told(), env)
    assert not home.cache.exists()


def test_a_host_without_gpgv_is_told_its_package(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home.cache))
    with pytest.raises(UsageError) as caught:
        store.fetch(home, NOBLE, Told(), {})
    assert "apt-get install gpgv" in caught.value.hint
