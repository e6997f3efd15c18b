"""The QMP client against a server that answers line by line."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vclaw.errors import VclawError
from vclaw.hypervisor.qemu import qmp

GREETING = {"QMP": {"version": {}, "capabilities": []}}

EVENT = {"event": "RTC_CHANGE", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}}


class Server:
    """Sends `greeting`, then one entry of `answers` a request; keeps the requests.

    An answer is bytes, or a list of values that become a line of JSON each. After the last
    answer the connection stays open, unless `close`.
    """

    def __init__(self, path: Path, greeting: bytes, answers: list[Any], close: bool) -> None:
        self.path = path
        self.requests: list[Any] = []
        self._talk = (greeting, answers, close)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        greeting, answers, close = self._talk
        connection, _ = self._server.accept()
        with connection, connection.makefile("rb") as stream:
            connection.sendall(greeting)
            for answer in answers:
                self.requests.append(json.loads(stream.readline()))
                data = answer if isinstance(answer, bytes) else b"".join(map(line, answer))
                connection.sendall(data)
            if not close:
                stream.readline()
                stream.readline()

    def stop(self) -> None:
        self._server.close()


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\r\n"


Serve = Callable[..., Server]


@pytest.fixture
def serve(short_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*answers: Any, greeting: bytes = line(GREETING), close: bool = False) -> Server:
        servers.append(Server(short_path / "qmp.sock", greeting, list(answers), close))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


OK = [{"return": {}}]


def test_a_command_returns_its_value(serve: Serve) -> None:
    server = serve(OK, [{"return": {"status": "running"}}])
    assert qmp.execute(server.path, "query-status") == {"status": "running"}
    assert [request["execute"] for request in server.requests] == [
        "qmp_capabilities",
        "query-status",
    ]


def test_arguments_are_passed(serve: Serve) -> None:
    server = serve(OK, OK)
    qmp.execute(server.path, "screendump", {"filename": "/x"})
    assert server.requests[1] == {"execute": "screendump", "arguments": {"filename": "/x"}}


def test_events_between_are_passed_over(serve: Serve) -> None:
    server = serve([EVENT, {"return": {}}], [EVENT, EVENT, {"return": 5}, EVENT])
    assert qmp.execute(server.path, "stop") == 5


def test_a_refused_command_is_an_error_with_qemus_reason(serve: Serve) -> None:
    server = serve(OK, [EVENT, {"error": {"class": "GenericError", "desc": "not now"}}])
    with pytest.raises(VclawError, match="QEMU refused cont: not now"):
        qmp.execute(server.path, "cont")


@pytest.mark.parametrize("answers", [[], [OK], [OK, b'{"retu']])
def test_a_closed_connection_is_an_error(serve: Serve, answers: list[Any]) -> None:
    server = serve(*answers, close=True)
    with pytest.raises(VclawError, match="QEMU does not answer"):
        qmp.execute(server.path, "stop", timeout=5.0)


def test_what_is_no_json_is_an_error(serve: Serve) -> None:
    server = serve(OK, b"hello\r\n")
    with pytest.raises(VclawError, match="QEMU does not answer"):
        qmp.execute(server.path, "stop", timeout=5.0)


@pytest.mark.parametrize(
    ("greeting", "answers"),
    [(b"", []), (line(GREETING), [b""]), (line(GREETING), [OK, [EVENT]])],
    ids=["no greeting", "no capabilities", "no answer"],
)
def test_a_hung_monitor_is_left_at_the_deadline(
    serve: Serve, greeting: bytes, answers: list[Any]
) -> None:
    server = serve(*answers, greeting=greeting)
    start = time.monotonic()
    with pytest.raises(VclawError, match="QEMU does not answer"):
        qmp.execute(server.path, "query-status", timeout=0.2)
    assert 0.1 < time.monotonic() - start < 2


@pytest.mark.parametrize("left", [True, False])
def test_a_monitor_that_is_gone_is_an_error(short_path: Path, left: bool) -> None:
    path = short_path / "qmp.sock"
    if left:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(VclawError, match="QEMU does not answer"):
        qmp.execute(path, "stop", timeout=1.0)
