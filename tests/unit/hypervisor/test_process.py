"""Processes that outlive a command, told apart by when they began."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vclaw.hypervisor import process
from vclaw.hypervisor.process import Process, start_mark

Spawn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts children that are ended and reaped when the test is over."""
    children: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> subprocess.Popen[bytes]:
        words = argv or ("sleep", "60")
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def known(child: subprocess.Popen[bytes]) -> Process:
    return Process(child.pid, start_mark(child.pid), ("sleep", "60"))


def test_a_running_child_is_alive(spawn: Spawn) -> None:
    child = known(spawn())
    assert child.started
    assert child.alive
    assert start_mark(child.pid) == child.started


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_lives_until_the_last_of_its_threads_is_over(spawn: Spawn) -> None:
    """A thread that still runs holds what the process has open, its ports among that."""
    exit_of_one_thread = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    child = spawn(
        *(sys.executable, "-c"),
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
        f"ctypes.CDLL(None).syscall({exit_of_one_thread}, 0)",
    )
    deadline = time.monotonic() + 10
    while ") Z " not in Path(f"/proc/{child.pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert start_mark(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while start_mark(child.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_zombie_is_dead(spawn: Spawn) -> None:
    child = spawn()
    seen = known(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert start_mark(child.pid) == ""
    assert not seen.alive


def test_another_process_of_the_same_pid_is_not_this_one(spawn: Spawn) -> None:
    child = known(spawn())
    earlier = Process(child.pid, child.started + "1", child.argv)
    assert not earlier.alive
    earlier.end()
    assert child.alive


def test_a_process_of_an_earlier_boot_is_dead(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = known(spawn())
    monkeypatch.setattr(process, "boot_id", lambda: "another-boot")
    assert not child.alive


@pytest.mark.parametrize("pid", [2**22 + 1, 0])
def test_a_pid_without_process_has_no_mark(pid: int) -> None:
    assert start_mark(pid) == ""
    assert not Process(pid, "", ()).alive


def test_a_name_with_spaces_and_brackets_confuses_nothing(spawn: Spawn) -> None:
    script = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b'); "
        "print('named', flush=True); time.sleep(60)"
    )
    child = spawn(sys.executable, "-c", script)
    before = start_mark(child.pid)
    assert child.stdout is not None
    assert child.stdout.readline() == b"named\n"
    assert start_mark(child.pid) == before != ""


def test_psutil_tells_processes_apart_too(spawn: Spawn) -> None:
    first, second = spawn(), spawn()
    mark = process._psutil_start_mark(first.pid)
    assert mark
    assert process._psutil_start_mark(first.pid) == mark
    second.kill()
    os.waitid(os.P_PID, second.pid, os.WEXITED | os.WNOWAIT)
    assert process._psutil_start_mark(second.pid) == ""
    assert process._psutil_start_mark(2**22 + 1) == ""


def test_end_asks_first(spawn: Spawn) -> None:
    child = spawn()
    known(child).end(patience=10.0)
    assert child.wait(5) == -signal.SIGTERM


def test_end_kills_what_does_not_listen(spawn: Spawn) -> None:
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )
    child = spawn(sys.executable, "-c", script)
    assert child.stdout is not None
    child.stdout.readline()
    start = time.monotonic()
    known(child).end(patience=0.2)
    assert child.wait(5) == -signal.SIGKILL
    assert time.monotonic() - start < 5


def test_end_may_come_too_late(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends by itself between the look at it and the signal."""
    child = spawn()
    seen = known(child)
    child.kill()
    child.wait()
    answers = iter([True])
    monkeypatch.setattr(Process, "alive", property(lambda _: next(answers, False)))
    seen.end()


def test_wait_says_whether_it_is_gone(spawn: Spawn) -> None:
    child = spawn()
    seen = known(child)
    assert not seen.wait(0.1)
    child.kill()
    assert seen.wait(5)


def test_a_process_comes_back_from_its_json_as_it_was() -> None:
    seen = Process(5, "boot:1", ("a", "b"))
    again = Process.from_json(json.loads(json.dumps(seen.to_json())))
    assert (again.pid, again.started, again.argv) == (5, "boot:1", ("a", "b"))


@pytest.mark.parametrize("value", [{}, {"pid": 1}, {"pid": 1, "started": "x", "argv": 5}])
def test_json_of_another_shape_is_an_error(value: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Process.from_json(value)
