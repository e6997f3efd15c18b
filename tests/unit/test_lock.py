"""Locks between processes, with a real second process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vclaw.errors import VclawError
from vclaw.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from vclaw.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "my-claw").mkdir()
    return tmp_path / "my-claw" / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until its stdin gets a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()


def test_a_busy_lock_names_its_holder_in_time(path: Path, holder: subprocess.Popen[bytes]) -> None:
    start = time.monotonic()
    with (
        pytest.raises(VclawError, match=f"my-claw is busy: process {holder.pid} "),
        locked(path, 0.2),
    ):
        pass
    assert 0.2 <= time.monotonic() - start < 2


def test_a_wait_is_told_once_and_ends_with_the_holder(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    told: list[str] = []

    def let_go() -> None:
        time.sleep(0.3)
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()

    threading.Thread(target=let_go, daemon=True).start()
    with locked(path, 20, told.append):
        assert told == [f"process {holder.pid}"]
        assert path.read_text().split()[0] == str(os.getpid())


def test_a_lock_ends_with_a_killed_holder(path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    with locked(path, 5):
        assert path.read_text().split()[0] == str(os.getpid())


def test_a_block_inside_a_block_just_runs_and_leaves_the_lock(path: Path) -> None:
    with locked(path):
        with locked(path, 0):
            pass
        assert not taken_elsewhere(path)
    assert taken_elsewhere(path)


def taken_elsewhere(path: Path) -> bool:
    """Whether another process can have the lock now."""
    script = "import sys; from pathlib import Path; from vclaw.lock import locked\n"
    script += "with locked(Path(sys.argv[1]), 0): pass"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False)
    return done.returncode == 0


def test_an_error_lets_the_lock_go(path: Path) -> None:
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert taken_elsewhere(path)
    assert path.read_text() == ""


def test_a_lock_is_not_inherited_by_a_program(path: Path) -> None:
    with locked(path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        assert taken_elsewhere(path)
    finally:
        child.kill()
        child.wait()


def test_a_lock_whose_folder_was_removed_meanwhile_is_not_had(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    def remove() -> None:
        time.sleep(0.3)
        path.parent.rename(path.parent.with_name(".removed"))
        holder.kill()

    threading.Thread(target=remove, daemon=True).start()
    with (
        pytest.raises(VclawError, match="my-claw was removed by another process"),
        locked(path, 20),
    ):
        pass
    assert not path.parent.exists()
    with pytest.raises(VclawError, match="my-claw was removed"), locked(path, 0):
        pass
    assert not path.parent.exists()


def test_a_busy_lock_says_what_its_holder_does(path: Path) -> None:
    script = "import sys; sys.argv = ['vclaw', *sys.argv[1:]]\n" + HOLDER.replace("[1]", "[2]")
    child = subprocess.Popen(
        [sys.executable, "-c", script, "run", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child, pytest.raises(VclawError, match=rf"process {child.pid} \(vclaw run\) is working"):
        assert child.stdout is not None
        child.stdout.readline()
        with locked(path, 0):
            pass


def test_whoever_gets_the_lock_finds_no_rests_of_a_killed_writer(path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    rest = path.with_name(f".claw.json.{dead.pid}.tmp")
    living = path.with_name(f".claw.json.{os.getppid()}.tmp")
    for file in (rest, living, path.with_name(".claw.json.tmp"), path.with_name("x.1.tmp")):
        file.touch()
    with locked(path):
        assert {file.name for file in path.parent.iterdir()} == {
            *("lock", living.name, ".claw.json.tmp", "x.1.tmp")
        }
