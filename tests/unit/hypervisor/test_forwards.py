"""Forwards of QEMU's user networking: its table read, the commands, and a real QEMU."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vclaw import ports
from vclaw.errors import VclawError
from vclaw.hypervisor.qemu import argv, forwards, qmp
from vclaw.model import PortForward, host_arch

TABLE = """\
Hub -1 (net):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0\r
  TCP[HOST_FORWARD]  11       127.0.0.1 18790       10.0.2.15 18789     0     0\r
  TCP[ESTABLISHED]   33       127.0.0.1  9999       10.0.2.15    80     0     0\r
  TCP[HOST_FORWARD]  13         0.0.0.0  7777       10.0.2.15    77     0     0\r
  UDP[236 sec]       34       10.0.2.15 38812         1.2.3.4   123     0     0\r
"""
"""As QEMU 7.2 prints it."""


def forward(text: str) -> PortForward:
    host, _, guest = text.partition(":")
    return PortForward(int(host), int(guest))


def test_forwards_are_read_and_connections_and_other_addresses_are_not() -> None:
    assert forwards.present(TABLE) == {forward("8080:80"), forward("18790:18789")}


def test_nothing_changes_what_is_there_already() -> None:
    assert forwards.commands([forward("1:2")], [forward("1:2")]) == []


def test_ports_are_closed_first_and_opened_then() -> None:
    now = [forward("18790:18789"), forward("8081:81"), forward("8080:80")]
    wanted = [forward("9000:90"), forward("8080:8000"), forward("18790:18789")]
    assert forwards.commands(now, wanted) == [
        (
            "hostfwd_remove net tcp:127.0.0.1:8080",
            "host forwarding rule for tcp:127.0.0.1:8080 removed",
        ),
        (
            "hostfwd_remove net tcp:127.0.0.1:8081",
            "host forwarding rule for tcp:127.0.0.1:8081 removed",
        ),
        ("hostfwd_add net tcp:127.0.0.1:8080-:8000", ""),
        ("hostfwd_add net tcp:127.0.0.1:9000-:90", ""),
    ]


def answers(monitor: Path) -> bool:
    try:
        return bool(qmp.execute(monitor, "query-status"))
    except VclawError:
        return False


@pytest.fixture
def monitor(short_path: Path) -> Iterator[Path]:
    """The monitor of a real QEMU that has a network and no guest."""
    program = shutil.which(argv.PROGRAMS.get(host_arch(), ""))
    if program is None:
        pytest.skip("needs QEMU")
    path = short_path / "qmp.sock"
    words = ["-nodefaults", "-display", "none", "-machine", "none"]
    words += ["-netdev", f"user,id={argv.NETDEV},ipv6=off"]
    words += ["-qmp", f"unix:{path},server=on,wait=off"]
    child = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not answers(path):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield path
    finally:
        child.kill()
        child.wait()


def on_the_host(monitor: Path) -> set[PortForward]:
    answer = qmp.execute(monitor, "human-monitor-command", {"command-line": "info usernet"})
    return forwards.present(answer)


def test_a_real_qemu_listens_where_it_is_told_and_no_longer(monitor: Path) -> None:
    first = ports.any_free(())
    second = ports.any_free({first})
    forwards.change(monitor, [PortForward(first, 80), PortForward(second, 90)])
    assert not ports.is_free(first)
    assert not ports.is_free(second)
    forwards.change(monitor, [PortForward(first, 81)])
    assert on_the_host(monitor) == {PortForward(first, 81)}
    assert ports.is_free(second)
    forwards.change(monitor, [])
    assert ports.is_free(first)


def test_a_port_that_a_real_qemu_cannot_have_is_an_error(monitor: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = PortForward(taken.getsockname()[1], 80)
        with pytest.raises(VclawError, match=r"Port \d+ of the host was taken"):
            forwards.change(monitor, [wanted])
    assert on_the_host(monitor) == set()
