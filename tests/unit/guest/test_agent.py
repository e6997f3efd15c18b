"""The guest channel: the agent's end, the host's end, and both together."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vclaw import channel, seed
from vclaw.errors import VclawError

AGENT = Path(seed.__file__).with_name("guest") / "agent.py"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """agent.py's names, with an operation that says back what it was told."""
    monkeypatch.syspath_prepend(str(AGENT.parent))  # apply.py lies beside it, as on the seed
    names: dict[str, Any] = runpy.run_path(str(AGENT), run_name="agent")["answer"].__globals__
    names["OPS"]["say"] = lambda request: {"said": request["words"]}
    names["IDLE_SECONDS"] = 0.01
    return names


def test_a_request_is_answered_under_its_id(agent: dict[str, Any]) -> None:
    request = json.dumps({"id": 7, "op": "say", "words": "hello"}).encode()
    assert agent["answer"](request) == {"id": 7, "ok": True, "said": "hello"}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"id": 7, "op": "dance"}, "KeyError: 'dance'"),
        ({"id": 7}, "KeyError: 'op'"),
        ({"id": 7, "op": "say"}, "KeyError: 'words'"),
        ({"id": 7, "op": ["say"]}, "TypeError: "),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_reason(
    agent: dict[str, Any], request_: dict[str, Any], error: str
) -> None:
    answer = agent["answer"](json.dumps(request_).encode())
    assert (answer["id"], answer["ok"]) == (7, False)
    assert answer["error"].startswith(error)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"5", b'"id"', b"null", b'{"op": "say"}', b"\xff"]
)
def test_what_is_no_request_gets_no_answer(agent: dict[str, Any], line: bytes) -> None:
    assert agent["answer"](line) is None


def test_the_status_tells_what_was_applied_and_is_mounted(
    agent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent["apply"], "REPORT", tmp_path / "report.json")
    assert agent["status"]({}).keys() == {"uptime", "mounts", "disk_free", "ops"}
    (tmp_path / "report.json").write_text('{"applied": "g1"}')
    monkeypatch.setattr(os.path, "ismount", lambda path: path == "/workspace")
    status = agent["status"]({})
    assert (status["applied"], status["mounts"]) == ("g1", ["/workspace"])
    assert status["uptime"] > 0


def test_other_variables_are_written_before_the_gateway_is_started_anew(
    agent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = agent["apply"]
    seed_folder = tmp_path / "seed"
    seed_folder.mkdir()
    guest = {
        "emulated": False,
        "ca": "",
        "token": "t",
        "placeholders": {"BOTH": "no-key", "NONE": "no-key"},
        "env": {"OLD": "1", "BOTH": "1"},
    }
    (seed_folder / "guest.json").write_text(json.dumps(guest))
    report = tmp_path / "report.json"
    report.write_text('{"applied": "g1", "steps": [], "error": ""}')
    for name, path in (("SEED", seed_folder), ("RUN", tmp_path), ("REPORT", report)):
        monkeypatch.setattr(apply, name, path)
    called: list[str] = []

    def call(*words: str) -> None:
        assert 'NEW="s3cret"' in (tmp_path / "openclaw.env").read_text()
        assert json.loads(report.read_text())["applied"] == "g1"
        called.append(" ".join(words))

    monkeypatch.setattr(apply, "call", call)
    monkeypatch.setattr(apply.subprocess, "run", lambda *_, **__: None)
    variables = {"NEW": "s3cret", "BOTH": "2"}
    request = {"id": 1, "op": "environment", "env": variables, "generation": "g2"}
    assert agent["answer"](json.dumps(request).encode()) == {"id": 1, "ok": True}
    lines = (tmp_path / "openclaw.env").read_text().splitlines()
    assert {'NEW="s3cret"', 'BOTH="2"', 'NONE="no-key"', 'OPENCLAW_GATEWAY_TOKEN="t"'} <= set(lines)
    assert not any(line.startswith("OLD=") for line in lines)
    assert called == [
        *("systemctl stop openclaw.service", "systemctl start --no-block openclaw.service")
    ]
    assert json.loads(report.read_text())["applied"] == "g2"


def test_variables_are_refused_while_the_seed_is_applied(
    agent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent["apply"], "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(agent["apply"], "RUN", tmp_path)
    (tmp_path / "report.json").write_text('{"applied": "", "steps": [], "error": ""}')
    request = {"id": 1, "op": "environment", "env": {}, "generation": "g2"}
    answer = agent["answer"](json.dumps(request).encode())
    assert answer["error"] == "RuntimeError: the settings of this boot are not applied yet"
    assert not (tmp_path / "openclaw.env").exists()


class Guest:
    """What `release` and `regain` do to a guest, written down."""

    def __init__(self, agent: dict[str, Any], root: Path, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.held: list[list[dict[str, Any]]] = [[], []]
        self.elsewhere: list[dict[str, Any]] = []
        self.busy = ""
        self.agent = agent
        self.report = root / "report.json"
        self.report.write_text('{"applied": "g1", "steps": [], "error": ""}')
        patch.setattr(agent["apply"], "REPORT", self.report)
        patch.setattr(agent["apply"], "call", self.call)
        patch.setattr(os.path, "ismount", lambda _: True)
        patch.setattr(agent["holders"], "of", lambda _: self.held.pop(0))
        patch.setattr(agent["holders"], "elsewhere", lambda: self.elsewhere)
        patch.setattr(agent["subprocess"], "run", lambda words, **_: self.call(*words))
        agent["empty_seed"] = lambda: self.done.append("empty seed")
        agent["stir"] = lambda entropy: self.done.append(f"stir {entropy.hex()}")
        agent["set_clock"] = lambda request: self.done.append(f"clock {request['time']}")

    def call(self, *words: str) -> None:
        line = " ".join(words)
        if self.busy and line.endswith(self.busy):
            raise subprocess.CalledProcessError(32, words, stderr=b"target is busy")
        self.done.append(line)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        request = {"id": 1, "op": op, **fields}
        answer: dict[str, Any] = self.agent["answer"](json.dumps(request).encode())
        assert answer["ok"], answer
        return answer

    @property
    def applied(self) -> str:
        return str(json.loads(self.report.read_text())["applied"])


@pytest.fixture
def guest(agent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    return Guest(agent, tmp_path, monkeypatch)


HOLDER = {"pid": 7, "name": "vim", "path": "/workspace/x"}

AGAIN = "systemctl --no-block restart vclaw-seed.service"
"""What gives a guest folders, settings and gateway again."""


def test_a_guest_stops_its_gateway_before_it_lets_go_of_the_folders(guest: Guest) -> None:
    assert guest.ask("release")["holders"] == []
    assert guest.done == [
        "systemctl stop openclaw.service",
        *("umount /workspace", "umount /var/lib/openclaw", "umount /run/vclaw/seed"),
        "empty seed",
    ]
    assert guest.applied == "", "what is applied then has to be applied again"


def test_a_holder_is_told_before_the_gateway_is_stopped(guest: Guest) -> None:
    guest.held = [[HOLDER]]
    assert guest.ask("release")["holders"] == [HOLDER]
    assert (guest.done, guest.applied) == ([], "g1")


def test_a_guest_that_cannot_let_go_takes_all_back(guest: Guest) -> None:
    guest.held, guest.busy = [[], [HOLDER]], "/var/lib/openclaw"
    assert guest.ask("release")["holders"] == [HOLDER]
    assert guest.done[-1] == AGAIN


def test_where_nobody_is_found_the_reason_is_told(guest: Guest) -> None:
    guest.busy = "/workspace"
    told = guest.ask("release")["holders"]
    assert told == [{"pid": 0, "name": "umount /workspace: target is busy", "path": ""}]
    assert guest.done[-1] == AGAIN


def test_a_mount_in_another_namespace_is_a_holder_too(guest: Guest) -> None:
    guest.elsewhere = [HOLDER]
    assert guest.ask("release")["holders"] == [HOLDER]
    assert guest.done[-1] == AGAIN


def test_a_guest_regains_clock_and_randomness_before_the_rest(guest: Guest) -> None:
    guest.ask("regain", time=12.5, entropy="00ff")
    assert guest.done[:2] == ["clock 12.5", "stir 00ff"]
    assert guest.done[-1] == AGAIN


@pytest.fixture
def served(agent: dict[str, Any]) -> Iterator[socket.socket]:
    """The host's end of a port that the agent serves."""
    host, guest = socket.socketpair()
    host.settimeout(5)
    stop = threading.Event()

    def read(fd: int, size: int) -> bytes:
        if stop.is_set():
            raise SystemExit
        return os.read(fd, size)

    # As Linux's virtio-serial driver does: a write takes at most 32 KiB.
    port = type("os", (), {"read": read, "write": lambda fd, data: os.write(fd, data[:32768])})
    agent["os"] = port

    def serve() -> None:
        with contextlib.suppress(SystemExit):
            agent["serve"](guest.fileno())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield host
    stop.set()
    host.close()
    thread.join(5)
    guest.close()


def ask(host: socket.socket, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers to requests that are sent at once."""
    host.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
    with host.makefile("rb") as stream:
        return [json.loads(stream.readline()) for _ in requests]


def test_requests_are_answered_in_their_order(served: socket.socket) -> None:
    asked = [{"id": number, "op": "say", "words": "x" * number} for number in (3, 1, 2)]
    assert [answer["id"] for answer in ask(served, *asked)] == [3, 1, 2]


def test_a_request_in_two_pieces_is_one(served: socket.socket) -> None:
    request = json.dumps({"id": 1, "op": "say", "words": "hello"}).encode() + b"\n"
    served.sendall(request[:9])
    time.sleep(0.02)
    served.sendall(request[9:])
    with served.makefile("rb") as stream:
        assert json.loads(stream.readline())["said"] == "hello"


def test_noise_before_a_request_is_passed_over(served: socket.socket) -> None:
    served.sendall(b"noise\n\n")
    assert ask(served, {"id": 1, "op": "say", "words": 1})[0]["said"] == 1


def test_an_answer_longer_than_one_write_arrives_whole(served: socket.socket) -> None:
    words = "x" * 100_000
    assert ask(served, {"id": 1, "op": "say", "words": words})[0]["said"] == words


@pytest.fixture
def listening(short_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes a guest socket whose answers to a request `reply(request)` gives, as bytes."""
    servers: list[socket.socket] = []

    def listen(reply: Callable[[dict[str, Any]], bytes]) -> Path:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(short_path / "guest.sock"))
        server.listen()
        servers.append(server)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                connection.sendall(reply(json.loads(stream.readline())))
                stream.readline()  # until the host hangs up

        threading.Thread(target=serve, daemon=True).start()
        return short_path / "guest.sock"

    yield listen
    for server in servers:
        server.close()


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def test_the_host_gets_the_answers_fields(listening: Callable[..., Path]) -> None:
    path = listening(lambda request: line({**request, "ok": True, "time": 5}))
    answer = channel.ask(path, "set-clock", 10.0, wanted=3)
    assert (answer["op"], answer["wanted"], answer["time"]) == ("set-clock", 3, 5)


def test_older_answers_and_their_rests_are_passed_over(listening: Callable[..., Path]) -> None:
    def reply(request: dict[str, Any]) -> bytes:
        stale = {"id": request["id"] + 1, "ok": True, "which": "stale"}
        good = {"id": request["id"], "ok": True, "which": "good"}
        return b'rest of one"}\n' + line(stale) + line(5) + line([]) + b"\xff\n" + line(good)

    assert channel.ask(listening(reply), "status", 10.0)["which"] == "good"


@pytest.mark.parametrize("said", [b"", b'{"id": 1, "ok": true}\n', b"no end"])
def test_no_answer_in_time_is_told_as_such(listening: Callable[..., Path], said: bytes) -> None:
    start = time.monotonic()
    with pytest.raises(channel.NoAnswer):
        channel.ask(listening(lambda _: said), "status", 0.2)
    assert time.monotonic() - start < 5


def test_a_refusal_is_an_error_with_the_agents_reason(listening: Callable[..., Path]) -> None:
    path = listening(lambda r: line({"id": r["id"], "ok": False, "error": "no such unit"}))
    with pytest.raises(VclawError, match="could not do unit: no such unit") as caught:
        channel.ask(path, "unit", 10.0)
    assert not isinstance(caught.value, channel.NoAnswer)


@pytest.mark.parametrize("there", [True, False])
def test_a_machine_that_is_gone_gives_no_answer(short_path: Path, there: bool) -> None:
    path = short_path / "guest.sock"
    if there:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    with pytest.raises(channel.NoAnswer):
        channel.ask(path, "status", 1.0)
