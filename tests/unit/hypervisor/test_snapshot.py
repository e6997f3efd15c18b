"""How a guest's state is saved and loaded: what QEMU's monitor is told, and what it may answer."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vclaw.errors import VclawError
from vclaw.hypervisor.qemu import snapshot


class Monitor:
    """Answers every command with {}, `query-migrate` with the next of `told`, the last for good.

    Keeps the requests, and what stands in the file that came with one.
    """

    def __init__(self, path: Path, told: list[Any], refuse: str = "") -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self.received: dict[str, str] = {}
        self._told, self._refuse = told, refuse
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._server.accept()
            with connection:
                connection.sendall(b'{"QMP": {}}\r\n')
                buffer = b""
                size = socket.CMSG_SPACE(array.array("i").itemsize)
                while True:
                    data, ancillary, _, _ = connection.recvmsg(65536, size)
                    if not data:
                        return
                    fds = [fd for _, _, raw in ancillary for fd in array.array("i", raw)]
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        connection.sendall(self._answer(json.loads(line), fds))

    def _answer(self, request: dict[str, Any], fds: list[int]) -> bytes:
        self.requests.append(request)
        command = request["execute"]
        if command == "getfd":
            (fd,) = fds
            self.received[request["arguments"]["fdname"]] = str(Path(f"/dev/fd/{fd}").readlink())
            os.write(fd, b"the state")
            os.close(fd)
        answer: dict[str, Any] = {"return": {}}
        if command == "query-migrate":
            answer = {"return": self._told.pop(0) if len(self._told) > 1 else self._told[0]}
        if command == self._refuse:
            answer = {"error": {"class": "GenericError", "desc": "Shared folder is mounted"}}
        return b'{"event": "MIGRATION"}\r\n' + json.dumps(answer).encode() + b"\r\n"

    @property
    def commands(self) -> list[str]:
        """The names of the commands, in their order."""
        return [request["execute"] for request in self.requests]

    def arguments(self, command: str) -> dict[str, Any]:
        """Those of the one request for `command`."""
        (found,) = (r["arguments"] for r in self.requests if r["execute"] == command)
        return dict(found)

    def stop(self) -> None:
        """Listen no more."""
        self._server.close()


Start = Callable[..., Monitor]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would wait for ever fails within seconds."""
    monkeypatch.setattr(snapshot, "SECONDS", 10.0)


@pytest.fixture
def start(short_path: Path) -> Iterator[Start]:
    made: list[Monitor] = []

    def begin(*told: Any, refuse: str = "") -> Monitor:
        made.append(Monitor(short_path / "qmp.sock", list(told), refuse))
        return made[-1]

    yield begin
    for monitor in made:
        monitor.stop()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "device"


ACTIVE, COMPLETED = {"status": "active"}, {"status": "completed"}


def save(monitor: Monitor, state: Path, *, memory: bool = False) -> None:
    with state.open("wb") as target:
        snapshot.save(monitor.path, target, memory=memory)


def test_a_state_is_saved_by_a_migration_into_the_file_that_was_given(
    start: Start, state: Path
) -> None:
    monitor = start({}, ACTIVE, COMPLETED)
    save(monitor, state)
    assert monitor.commands == [
        "qmp_capabilities",
        "migrate-set-capabilities",
        "migrate-set-parameters",
        "getfd",
        "migrate",
        *["query-migrate"] * 3,
    ]
    (name,) = monitor.received
    assert monitor.received[name] == str(state)
    assert state.read_bytes() == b"the state"
    assert monitor.arguments("migrate") == {"uri": f"fd:{name}"}


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("way", ["save", "load"])
def test_memory_that_is_a_file_is_left_out_of_the_state_unless_it_is_asked_for(
    start: Start, state: Path, memory: bool, way: str
) -> None:
    monitor = start(COMPLETED)
    if way == "save":
        save(monitor, state, memory=memory)
    else:
        snapshot.load(monitor.path, 7, memory=memory)
    assert monitor.arguments("migrate-set-capabilities") == {
        "capabilities": [{"capability": "x-ignore-shared", "state": not memory}]
    }


def test_a_state_is_loaded_from_the_descriptor_that_qemu_inherited(start: Start) -> None:
    monitor = start(ACTIVE, COMPLETED)
    snapshot.load(monitor.path, 7, memory=False)
    assert monitor.commands == [
        "qmp_capabilities",
        "migrate-set-capabilities",
        "migrate-incoming",
        "query-migrate",
        "query-migrate",
    ]
    assert monitor.arguments("migrate-incoming") == {"uri": "fd:7"}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("reason", ["No space left", ""])
@pytest.mark.parametrize("way", ["saved", "loaded"])
def test_a_state_that_qemu_could_not_move_is_an_error_with_its_reason(
    start: Start, state: Path, status: str, reason: str, way: str
) -> None:
    told = {"status": status, **({"error-desc": reason} if reason else {})}
    monitor = start(ACTIVE, told)
    wanted = f"could not be {way}: {reason or 'QEMU gives no reason'}."
    with pytest.raises(VclawError, match=wanted):
        if way == "saved":
            save(monitor, state)
        else:
            snapshot.load(monitor.path, 7, memory=False)


@pytest.mark.parametrize("command", ["migrate-set-capabilities", "getfd", "migrate"])
def test_a_state_that_qemu_refuses_to_save_is_an_error_with_its_reason(
    start: Start, state: Path, command: str
) -> None:
    monitor = start(COMPLETED, refuse=command)
    with pytest.raises(VclawError, match=f"refused {command}: Shared folder is mounted"):
        save(monitor, state)
    assert monitor.commands[-1] == command


def test_a_monitor_that_never_completes_is_left_at_the_deadline(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SECONDS", 0.3)
    with pytest.raises(VclawError, match="does not answer"):
        snapshot.load(start(ACTIVE).path, 7, memory=False)
