"""What servers and lines do to a download, beyond what test_fetch.py has: nothing wrong is kept."""

from __future__ import annotations

import datetime
import email.utils
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.image_server import Fault, ImageServer, qcow2
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.images import http, store
from vclaw.images.meta import ImageMeta
from vclaw.model import ImageRef, host_arch
from vclaw.progress import Silent

IMAGE = qcow2(3 * 2**30, random.Random(2).randbytes(3 * 2**20 + 7))
NOBLE = ImageRef("ubuntu", "24.04", host_arch())

Fetch = Callable[[], ImageMeta]


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
def fetch(image_server: ImageServer, home: Home, tmp_path: Path) -> Fetch:
    env = image_server.env(tmp_path)
    return lambda: store.fetch(home, NOBLE, Silent(), env)


def kept(home: Home) -> list[str]:
    root = home.image(NOBLE).root
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def sums_of(path: str) -> str:
    return path.rpartition("/")[0] + "/SHA256SUMS"


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
@pytest.mark.parametrize("which", ["image", "list", "signature"])
def test_a_refusal_is_told_at_once_and_leaves_nothing(
    image_server: ImageServer, fetch: Fetch, home: Home, waits: list[float], status: int, which: str
) -> None:
    path = image_server.publish(IMAGE)
    refused = {"image": path, "list": sums_of(path), "signature": sums_of(path) + ".gpg"}[which]
    image_server.fail(refused, *[Fault(status=status)] * 9)
    with pytest.raises(VclawError) as caught:
        fetch()
    assert str(status) in caught.value.message or "has no ubuntu:24.04" in caught.value.message
    assert (waits, kept(home)) == ([], [])


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_as_number_and_as_date(
    image_server: ImageServer, fetch: Fetch, waits: list[float], status: int
) -> None:
    path = image_server.publish(IMAGE)
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=120)
    date = email.utils.format_datetime(then, usegmt=True)
    image_server.fail(
        path,
        Fault(status=status, headers={"Retry-After": "7"}),
        Fault(status=status, headers={"Retry-After": date}),
        Fault(status=status, headers={"Retry-After": "soon"}),
        Fault(status=status, headers={"Retry-After": "-5"}),
    )
    fetch()
    assert waits[0] == 7.0
    assert 100 < waits[1] <= 120
    assert waits[2:] == [4.0, 8.0]


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    image_server: ImageServer, fetch: Fetch, home: Home, waits: list[float]
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(VclawError, match="429") as caught:
        fetch()
    assert "3600 s" in caught.value.hint
    assert (waits, kept(home)) == ([], [])


def test_a_redirect_is_followed_and_one_in_a_ring_is_given_up(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    image_server.files["/elsewhere.img"] = IMAGE
    there = {"Location": "/elsewhere.img"}
    image_server.fail(path, Fault(status=302, headers=there), Fault(status=307, headers=there))
    image_server.fail("/elsewhere.img", Fault(cut=2**20))
    fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE
    assert image_server.ranges("/elsewhere.img")[1], "a redirected download is resumed too"
    store.remove(home, NOBLE)
    image_server.fail(path, *[Fault(status=302, headers={"Location": path})] * 500)
    with pytest.raises(VclawError, match="cannot be read"):
        fetch()
    assert kept(home) == []


@pytest.mark.parametrize("answer", ["416 of another size", "another part"])
def test_a_file_that_changes_between_the_parts_is_not_mixed(
    image_server: ImageServer, fetch: Fetch, home: Home, answer: str
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(cut=2**20))
    if answer == "another part":
        image_server.fail(path, Fault(status=206, headers={"Content-Range": "bytes 9-9/10"}))
    else:
        image_server.fail(path, Fault(status=416, headers={"Content-Range": "bytes */17"}))
    fetch()
    assert home.image(NOBLE).image.read_bytes() == IMAGE
    assert image_server.ranges(path)[-1] is None, "it began anew"


def test_a_file_that_changed_on_the_server_between_the_parts_is_noticed(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    path = image_server.publish(IMAGE)
    image_server.fail(path, Fault(cut=2**20), *[Fault(status=503)] * http.ATTEMPTS)
    with pytest.raises(VclawError, match="503"):
        fetch()
    size = home.image(NOBLE).partial.stat().st_size
    image_server.files[path] = IMAGE[:-9] + b"different"
    with pytest.raises(VclawError, match="digest"):
        fetch()
    assert image_server.ranges(path)[-2:] == [f"bytes={size}-", None], "joined, then whole"
    assert kept(home) == []


def test_a_qcow2_that_leads_to_files_of_this_host_is_refused(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    header = bytearray(qcow2())
    header[8:20] = struct.pack(">QI", 512, 11)  # a backing file's name
    image_server.publish(bytes(header) + b"/etc/shadow")
    with pytest.raises(VclawError):
        fetch()
    assert not home.image(NOBLE).image.exists()


class RawServer:
    """Accepts connections and does with each what the test says, below HTTP."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            connection.recv(4096)
            self._talk(connection)

    def close(self) -> None:
        for connection in (self._listener, *self._open):
            connection.close()


def reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")


def reset_midway(connection: socket.socket) -> None:
    half(connection)
    reset(connection)


def end_early(connection: socket.socket) -> None:
    half(connection)
    connection.close()


def stall(connection: socket.socket) -> None:
    """Send nothing and stay."""


def rubbish(connection: socket.socket) -> None:
    connection.sendall(b"\x00\x01SSH-2.0\r\n\r\n")
    connection.close()


def negative(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc")
    connection.close()


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], RawServer]]:
    monkeypatch.setattr(http, "TIMEOUT", (0.5, 0.2))
    made: list[RawServer] = []

    def serve(talk: Callable[[socket.socket], None]) -> RawServer:
        made.append(RawServer(talk))
        return made[-1]

    yield serve  # type: ignore[misc]
    for server in made:
        server.close()


@pytest.mark.parametrize(
    "talk",
    [reset, reset_midway, end_early, stall, half, rubbish, negative],
    ids=lambda t: t.__name__,
)
def test_a_line_that_breaks_is_tried_a_bounded_number_of_times(
    raw: Callable[[object], RawServer],
    image_server: ImageServer,
    home: Home,
    tmp_path: Path,
    talk: Callable[[socket.socket], None],
) -> None:
    server = raw(talk)
    env = {**image_server.env(tmp_path), "VCLAW_UBUNTU_URL": server.url}
    with pytest.raises(VclawError) as caught:
        store.fetch(home, NOBLE, Silent(), env)
    assert caught.value.message
    assert caught.value.hint
    assert 1 <= server.accepted <= http.ATTEMPTS * 2  # the signed list, or its signature
    assert kept(home) == []


def test_a_length_that_is_not_kept_is_noticed(
    image_server: ImageServer, fetch: Fetch, home: Home
) -> None:
    """Longer than promised: what comes after the end is not of the file."""
    path = image_server.publish(IMAGE)
    image_server.files[path] = IMAGE + b"more"
    with pytest.raises(VclawError, match="digest"):
        fetch()
    image_server.files[path] = IMAGE[:-4]
    with pytest.raises(VclawError, match="digest"):
        fetch()
    assert kept(home) == []
