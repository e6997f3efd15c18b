"""The gateway client against small servers that answer well, badly, slowly or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from vclaw import gateway

TOKEN = "a-token"

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]
"""(method or path, params) -> HTTP status and the body: JSON, or bytes as they are."""


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """A server on a loopback port of its own; calls with another token get 401."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*answer(self.path, {}))

        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/api/v1/admin/rpc":
                self.reply(404, {})
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.reply(401, {"error": {"message": "Unauthorized"}})
            else:
                self.reply(*answer(call["method"], call["params"]))

        def reply(self, status: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class FakeGateway:
    """Suspends as the real one: `busy_for` looks at it say that work still goes on."""

    def __init__(self, busy_for: int = 0) -> None:
        self.busy_for = busy_for
        self.fenced = False

    def __call__(self, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        if method == "gateway.suspend.resume":
            if params["suspensionId"] != "s-1":
                return 400, {"ok": False, "error": {"code": "INVALID_REQUEST"}}
            resumed, self.fenced = self.fenced, False
            return 200, {"ok": True, "payload": {"ok": True, "resumed": resumed}}
        if method == "health":
            return 200, {"ok": True, "payload": {"ok": True, "plugins": {}}}
        self.fenced = True
        status = "ready"
        if self.busy_for > 0:
            self.busy_for -= 1
            status = "draining"
        payload = {"status": status}
        if method == "gateway.suspend.prepare":
            assert params["requestId"] and params["drain"] is True
            payload["suspensionId"] = "s-1"
        return 200, {"ok": True, "payload": payload}


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]  # bound and not listening: connections are refused


@pytest.mark.parametrize(
    ("path", "status", "body", "yes"),
    [
        ("/healthz", 200, {"ok": True, "status": "live"}, True),
        ("/readyz", 200, {"ready": True}, True),
        ("/readyz", 503, {"ready": False}, False),
        ("/readyz", 200, {"ready": False}, False),
        ("/readyz", 200, {"ok": True}, False),
        ("/readyz", 503, {"ready": True}, False),
        ("/healthz", 200, {"ok": "yes"}, False),
        ("/healthz", 200, [True], False),
        ("/healthz", 200, b"<html>", False),
        ("/healthz", 200, b"\xff\xfe", False),
        ("/healthz", 200, b"[" * 100_000, False),
        ("/healthz", 200, b"", False),
        ("/healthz", 302, {"ok": True}, False),
        ("/unknown", 200, {"ok": True}, False),
    ],
)
def test_a_probe_says_yes_to_the_one_right_answer_only(
    path: str, status: int, body: Any, yes: bool
) -> None:
    with serving(lambda _path, _params: (status, body)) as port:
        assert gateway.probe(port, path) is yes


def test_a_probe_of_a_closed_port_is_no(closed_port: int) -> None:
    assert gateway.probe(closed_port, "/healthz") is False


def test_a_probe_of_a_peer_that_is_silent_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert gateway.probe(silent.getsockname()[1], "/healthz", timeout=0.2) is False
        assert time.monotonic() - begun < 1.5


def test_a_probe_of_a_peer_that_sends_byte_by_byte_ends_in_time() -> None:
    def drip(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            for _ in range(200):
                peer.sendall(b"H")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        begun = time.monotonic()
        assert gateway.probe(listener.getsockname()[1], "/healthz", timeout=0.3) is False
        assert time.monotonic() - begun < 2
        thread.join()


def test_a_probe_of_a_peer_that_is_no_web_server_is_no() -> None:
    def greet(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet, args=(listener,))
        thread.start()
        assert gateway.probe(listener.getsockname()[1], "/healthz", timeout=1) is False
        thread.join()


def test_health_is_the_gateways_own_account() -> None:
    with serving(FakeGateway()) as port:
        assert gateway.health(port, TOKEN) == {"ok": True, "plugins": {}}


def test_a_wrong_token_gets_nothing() -> None:
    fake = FakeGateway()
    with serving(fake) as port:
        assert gateway.health(port, "another") is None
        assert gateway.quiesce(port, "another", 1) is None
        assert gateway.release(port, "another", "s-1", 1) is False
    assert not fake.fenced


def test_a_token_that_no_header_can_hold_gets_nothing() -> None:
    with serving(FakeGateway()) as port:
        assert gateway.health(port, "two\r\nlines") is None


def test_quiesce_fences_and_release_lifts_the_fence() -> None:
    fake = FakeGateway()
    with serving(fake) as port:
        assert gateway.quiesce(port, TOKEN, 5) == "s-1"
        assert fake.fenced
        assert gateway.release(port, TOKEN, "s-1", 5) is True
        assert not fake.fenced


def test_quiesce_waits_until_the_work_under_way_has_ended() -> None:
    fake = FakeGateway(busy_for=2)
    with serving(fake) as port:
        assert gateway.quiesce(port, TOKEN, 10) == "s-1"
    assert fake.busy_for == 0


def test_quiesce_gives_up_in_time_and_leaves_no_fence() -> None:
    fake = FakeGateway(busy_for=1000)
    with serving(fake) as port:
        begun = time.monotonic()
        assert gateway.quiesce(port, TOKEN, 0.7) is None
        assert time.monotonic() - begun < 4
    assert not fake.fenced


def test_a_gateway_without_the_calls_is_not_quiesced() -> None:
    with serving(lambda _method, _params: (404, b"Not Found")) as port:
        assert gateway.quiesce(port, TOKEN, 1) is None


def test_a_gateway_that_is_busy_otherwise_is_not_quiesced() -> None:
    busy = {"ok": True, "payload": {"status": "busy", "retryAfterMs": 10}}
    with serving(lambda _method, _params: (200, busy)) as port:
        assert gateway.quiesce(port, TOKEN, 1) is None


def test_another_suspension_is_not_released() -> None:
    with serving(FakeGateway()) as port:
        assert gateway.release(port, TOKEN, "s-2", 1) is False


def test_a_closed_port_is_neither_quiesced_nor_released(closed_port: int) -> None:
    assert gateway.quiesce(closed_port, TOKEN, 1) is None
    assert gateway.release(closed_port, TOKEN, "s-1", 1) is False
