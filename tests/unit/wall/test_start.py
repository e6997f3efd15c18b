"""The wall with everything but a guest: real namespaces, rules, pasta and relays around a program
that stands in for QEMU, listens where QEMU forwards, and tries what it is asked to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.killed import killed_at
from tests.support.services import two_services
from vclaw import ports
from vclaw.errors import UsageError
from vclaw.hypervisor.child import GATE
from vclaw.hypervisor.machine import Machine, RootDisk, Share
from vclaw.hypervisor.process import Process, start_mark
from vclaw.model import INTERNET, NONE, PortForward
from vclaw.paths import ClawPaths
from vclaw.wall import helpers, mechanism, start

SECONDS = 20.0
OWNER = 1234
"""Owner of the workspace where root runs the tests."""

INSIDE = """
import os, socket, sys, threading
def answer(words):
    if words[0] == "connect":
        with socket.socket() as s:
            s.settimeout(10)
            try:
                s.connect((words[1], int(words[2])))
                return "reached"
            except OSError as error:
                return type(error).__name__
    if words[0] == "read":
        try:
            return open(words[1]).read(99) or "empty"
        except OSError as error:
            return type(error).__name__
    if words[0] == "list":
        return " ".join(sorted(os.listdir(words[1])))
    if words[0] == "status":
        return open("/proc/self/status").read()
def serve(connection):
    with connection, connection.makefile("rw") as stream:
        words = stream.read().split()   # up to the end of a half-closed connection
        stream.write(answer(words))
def listen(port, serve=serve):
    server = socket.create_server(("127.0.0.1", port))
    while True:
        threading.Thread(target=serve, args=[server.accept()[0]]).start()
def leave(connection):
    connection.sendall(b"bye")
    connection.close()
threading.Thread(target=listen, args=[int(sys.argv.pop()), leave]).start()
for port in sys.argv[2:]:
    threading.Thread(target=listen, args=[int(port)]).start()
listen(int(sys.argv[1]))
"""


@dataclass
class Claw:
    """A walled stand-in that runs.

    It listens on two ports without a relay yet: `spare`, and `leaving`, where it hangs up first.
    """

    machine: Machine
    paths: ClawPaths
    child: start.Walled
    spare: int
    leaving: int

    @property
    def process(self) -> Process:
        return Process(self.child.pid, start_mark(self.child.pid), ())

    def ask(self, *words: object, port: int = 0) -> str:
        """Through the relay: what the stand-in finds."""
        deadline = time.monotonic() + SECONDS
        while True:
            address = ("127.0.0.1", port or self.machine.forwards[0].host)
            with contextlib.suppress(OSError), socket.create_connection(address, SECONDS) as link:
                link.sendall(" ".join(map(str, words)).encode())
                link.shutdown(socket.SHUT_WR)
                said = b"".join(iter(lambda: link.recv(4096), b"")).decode()
                if said:
                    return said
            assert time.monotonic() < deadline, "the stand-in does not answer"
            time.sleep(0.05)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A claw's files and a workspace, which belongs to somebody else where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="vclaw-") as name:
        root = Path(name)
        for path in (root / "claw/run", root / "claw/logs", root / "claw/state", root / "project"):
            path.mkdir(mode=0o700, parents=True)
        for file in ("claw/instance.img", "claw/seed.iso", "claw/secrets.json", "runtime"):
            (root / file).write_text(file)
        if os.geteuid() == 0:
            for path in (root / "project", root / "claw/state"):
                os.chown(path, OWNER, OWNER)
        yield root


@pytest.fixture
def claw(folder: Path) -> Iterator[Callable[..., Claw]]:
    """Makes walled stand-ins, which are gone after the test."""
    made: list[start.Walled] = []

    def make(network: str = NONE, allowed: tuple[int, ...] = ()) -> Claw:
        machine, paths = describe(folder, network, allowed)
        user = mechanism.user(mechanism.workspace_of(machine), machine.accelerator)
        try:
            mechanism.require(network, allowed, user)
        except UsageError as error:
            pytest.skip(f"{error.message} {error.hint}")
        first = machine.forwards[0].host
        spare = ports.any_free({first})
        leaving = ports.any_free({first, spare})
        listening = [str(first), str(spare), str(leaving)]
        qemu = ["/usr/bin/python3", "-c", INSIDE, *listening]
        argv = start.argv(machine, RootDisk(paths.disk, "raw"), paths, qemu)
        with paths.hypervisor_log.open("ab") as log:
            child = start.spawn(machine, paths, argv, log)
        made.append(child)
        return Claw(machine, paths, child, spare, leaving)

    yield make
    for child in made:
        child.kill()


def describe(folder: Path, network: str, allowed: tuple[int, ...]) -> tuple[Machine, ClawPaths]:
    paths = ClawPaths(folder / "claw")
    shares = (Share("state", paths.state), Share("workspace", folder / "project"))
    forwards = (PortForward(ports.any_free(()), 80),)
    runtime = folder / "runtime"
    machine = Machine("t", "amd64", "tcg", 1, 2048, runtime, forwards, shares, network, allowed)
    return machine, paths


def begin(claw: Claw) -> Claw:
    """Let it run, with its ports led into it."""
    claw.child.go()
    start.mend(claw.machine, claw.paths, claw.process)
    return claw


@pytest.fixture
def services() -> Iterator[tuple[int, int]]:
    """Two ports of the host's loopback on which something listens."""
    with two_services() as ports_of_both:
        yield ports_of_both


def gone(pid: int) -> bool:
    deadline = time.monotonic() + SECONDS
    while start_mark(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not start_mark(pid)


def test_an_allowed_port_of_the_host_is_reached_and_no_other(
    claw: Callable[..., Claw], services: tuple[int, int]
) -> None:
    if not mechanism.routed():
        pytest.skip("this host has no route, and pasta needs one")
    allowed, other = services
    one = begin(claw(INTERNET, (allowed,)))
    assert one.ask("connect", "127.0.0.1", allowed) == "reached"
    assert one.ask("connect", "127.0.0.1", other) == "ConnectionRefusedError"


@pytest.mark.parametrize("network", [INTERNET, NONE])
def test_metadata_private_networks_and_the_hosts_own_address_are_closed(
    claw: Callable[..., Claw], network: str
) -> None:
    server = socket.create_server(("0.0.0.0", 0))
    with server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # sends nothing; names the address on the way out
        own, port = probe.getsockname()[0], server.getsockname()[1]
        one = begin(claw(network))
        for address in ("169.254.169.254", "10.1.2.3", "192.168.1.1", own):
            said = one.ask("connect", address, port)
            assert said in ("ConnectionRefusedError", "OSError"), address


def test_without_a_network_there_is_no_way_out(claw: Callable[..., Claw]) -> None:
    one = begin(claw(NONE))
    assert one.ask("connect", "192.0.2.1", 80) in ("OSError", "ConnectionRefusedError")
    assert helpers.PASTA not in helpers.running(one.paths)
    assert len(Path(f"/proc/{one.child.pid}/net/route").read_text().splitlines()) == 1


def test_nothing_is_left_when_qemu_is_killed(claw: Callable[..., Claw]) -> None:
    one = begin(claw(INTERNET))
    port = one.machine.forwards[0].host
    assert one.ask("status")
    around = [process.pid for process in helpers.running(one.paths).values()]
    assert around
    os.kill(one.child.pid, signal.SIGKILL)
    assert all(gone(pid) for pid in around)
    assert ports.is_free(port)


def test_nothing_is_left_where_vclaw_dies_before_the_gate_is_opened(
    claw: Callable[..., Claw],
) -> None:
    one = claw(INTERNET)
    around = [process.pid for process in helpers.running(one.paths).values()]
    assert one.child._monitor.stdin is not None
    one.child._monitor.stdin.close()
    assert all(gone(pid) for pid in (one.child.pid, *around))


def test_what_was_killed_around_qemu_is_mended(claw: Callable[..., Claw]) -> None:
    one = begin(claw(INTERNET))
    before = helpers.running(one.paths)
    assert start.is_whole(one.machine, one.paths)
    for process in before.values():
        os.kill(process.pid, signal.SIGKILL)
        assert gone(process.pid)
    assert not start.is_whole(one.machine, one.paths)
    assert start_mark(one.child.pid), "QEMU lives on"
    start.mend(one.machine, one.paths, one.process)
    after = helpers.running(one.paths)
    assert after.keys() == before.keys()
    assert start.is_whole(one.machine, one.paths)
    assert one.ask("status")


def test_ports_are_opened_and_closed_while_it_runs(claw: Callable[..., Claw]) -> None:
    one = begin(claw())
    assert ports.is_free(one.spare)
    more = replace(one.machine, forwards=(*one.machine.forwards, PortForward(one.spare, 81)))
    start.mend(more, one.paths, one.process)
    assert one.ask("list", "/dev", port=one.spare) == "null urandom"
    start.mend(one.machine, one.paths, one.process)
    assert ports.is_free(one.spare)
    assert one.ask("list", "/dev")


def test_nothing_listens_where_vclaw_dies_before_a_relay_is_on_record(
    claw: Callable[..., Claw],
) -> None:
    one = begin(claw())
    more = replace(one.machine, forwards=(*one.machine.forwards, PortForward(one.spare, 81)))
    killed_at("file.written", lambda: start.mend(more, one.paths, one.process))
    assert ports.is_free(one.spare)
    start.mend(more, one.paths, one.process)
    assert one.ask("list", "/dev", port=one.spare) == "null urandom"


def test_a_guest_that_ends_a_connection_ends_it_for_the_host(claw: Callable[..., Claw]) -> None:
    """As QEMU does where nothing listens in the guest: the host's client must not wait."""
    one = begin(claw())
    more = replace(one.machine, forwards=(*one.machine.forwards, PortForward(one.leaving, 82)))
    start.mend(more, one.paths, one.process)
    with socket.create_connection(("127.0.0.1", one.leaving), SECONDS) as link:
        assert b"".join(iter(lambda: link.recv(4096), b"")) == b"bye"


def test_a_taken_port_is_said(claw: Callable[..., Claw], services: tuple[int, int]) -> None:
    one = begin(claw())
    more = replace(one.machine, forwards=(PortForward(services[0], 81),))
    with pytest.raises(UsageError, match=f"Port {services[0]} of the host is taken"):
        start.mend(more, one.paths, one.process)


def test_everything_listens_on_the_loopback(claw: Callable[..., Claw]) -> None:
    one = begin(claw(INTERNET))
    port = one.machine.forwards[0].host
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert found == {f"0100007F:{port:04X}"}
    six = Path("/proc/net/tcp6")
    assert not six.exists() or f":{port:04X} 0000" not in six.read_text()


def test_qemu_sees_its_own_files_and_no_secret(claw: Callable[..., Claw], folder: Path) -> None:
    one = begin(claw())
    assert one.ask("list", one.paths.root) == "instance.img logs run seed.iso state"
    assert one.ask("list", one.paths.logs) == "serial.log"
    assert one.ask("list", folder) == "claw project runtime"
    for path in (one.paths.secrets, folder.parent, "/etc/passwd", Path.home() / ".ssh"):
        assert one.ask("read", path) in ("FileNotFoundError", "IsADirectoryError")
    assert str(one.child.pid) not in one.ask("list", "/proc").split()


def test_qemu_has_no_rights_and_belongs_to_the_workspaces_owner(
    claw: Callable[..., Claw], folder: Path
) -> None:
    one = begin(claw())
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{one.child.pid}/status").read_text().splitlines()
    )
    owner = str((folder / "project").stat().st_uid)
    assert status["Uid"].split() == [owner] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"].strip() == "1"
    if os.geteuid() == 0:
        assert status["Groups"].split() == []


def test_the_environment_of_the_user_stays_outside(
    claw: Callable[..., Claw], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_API_KEY", "x")
    one = begin(claw(INTERNET))
    pids = [one.child.pid, *(process.pid for process in helpers.running(one.paths).values())]
    assert len(pids) == 3
    for pid in pids:
        assert b"SECRET_API_KEY" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_another_claw_of_the_same_user_is_not_seen(claw: Callable[..., Claw], folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "secrets.json").write_text("secret")
    (folder / "project" / "link").symlink_to(other)
    one = begin(claw())
    assert one.ask("read", other / "secrets.json") == "FileNotFoundError"
    assert one.ask("read", folder / "project" / "link" / "secrets.json") == "FileNotFoundError"


def test_the_gate_is_closed_until_all_is_recorded(claw: Callable[..., Claw]) -> None:
    one = claw()
    assert Path(f"/proc/{one.child.pid}/comm").read_text() == "sh\n"
    assert GATE in Path(f"/proc/{one.child.pid}/cmdline").read_text()
