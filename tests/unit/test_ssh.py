"""SSH into a guest: command lines, streams, statuses, signals; against a real sshd."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import sshd
from tests.support.sshd import USER
from vclaw import ssh
from vclaw.errors import UsageError, VclawError
from vclaw.model import ClawSpec
from vclaw.paths import ClawPaths

PATHS = ClawPaths(Path("/data/a b/instances/demo"))
SPEC = sshd.spec("demo", Path("/home/me/project"))

OPTIONS = """\
  HostName 127.0.0.1
  Port 40022
  User claw
  IdentityFile "/data/a b/instances/demo/ssh_key"
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile "/data/a b/instances/demo/known_hosts"
  GlobalKnownHostsFile none
  HostKeyAlias vclaw-demo
  StrictHostKeyChecking yes
  UpdateHostKeys no
  CheckHostIP no
  BatchMode yes
  ConnectTimeout 60
  ServerAliveInterval 30
  ServerAliveCountMax 4
  LogLevel ERROR
"""


def test_the_config_for_editors_is_a_host_block_with_all_options() -> None:
    assert ssh.config_text(PATHS, SPEC) == "Host vclaw-demo\n" + OPTIONS


def test_a_session_reads_no_configuration_and_shares_the_connection() -> None:
    words = ssh.session_argv(PATHS, SPEC, "true", tty=False)
    expected = ["ssh", "-F", "none"]
    for line in OPTIONS.splitlines():
        expected += ["-o", line.strip().replace(" ", "=", 1)]
    control = 'ControlPath="/data/a b/instances/demo/ssh"'
    assert words == [*expected, "-o", control, "-T", "vclaw-demo", "--", "true"]
    assert "-tt" in ssh.session_argv(PATHS, SPEC, "true", tty=True)


def test_a_path_is_quoted_as_ssh_reads_it() -> None:
    assert ssh.quoted(Path('/a b/50%/"x"\\')) == '"/a b/50%%/\\"x\\"\\\\"'


def test_the_remote_command_passes_every_argument_exactly(tmp_path: Path) -> None:
    arguments = ["a b", "", "$HOME", "`id`", "'", '"', "*", "\\", "line\nline", "--", "é"]
    text = ssh.remote_command(["printf", "%s\\0", *arguments], "mark", str(tmp_path))
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == arguments


def test_a_command_too_long_for_the_guest_is_refused() -> None:
    with pytest.raises(UsageError, match="longer than"):
        ssh.remote_command(["echo", "x" * ssh.COMMAND_BYTES_MAX], "mark")


def test_the_kill_command_does_not_hold_the_mark_it_looks_for() -> None:
    assert "vclaw-0a1b" not in ssh.kill_command("vclaw-0a1b", signal.SIGINT)
    assert "-s INT" in ssh.kill_command("vclaw-0a1b", signal.SIGINT)


needs_sshd = pytest.mark.skipif(sshd.SSHD is None, reason="needs sshd (openssh-server)")


@pytest.fixture(scope="module")
def guest() -> Iterator[tuple[ClawPaths, ClawSpec]]:
    """A claw whose folder's name holds what ssh's own syntax could trip over."""
    top = Path(tempfile.mkdtemp(prefix="vclaw-"))
    (top / "sshd").mkdir()
    (top / "work").mkdir()
    paths = ClawPaths(top / "a b%h" / "demo")
    try:
        with sshd.serving(paths, "demo", top / "work", top / "sshd") as spec:
            yield paths, spec
    finally:
        shutil.rmtree(top)


@pytest.fixture(autouse=True)
def _as_this_user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "guest" in request.fixturenames:
        monkeypatch.setattr(ssh, "USER", USER)


DRIVER = """
import sys
from pathlib import Path
from vclaw import ssh
from vclaw.errors import VclawError
from vclaw.paths import ClawPaths
from tests.support import sshd
root, port, work, *words = sys.argv[1:]
ssh.USER = sshd.USER
run = ssh.remote_command
ssh.remote_command = lambda words, mark: run(words, mark, work)
try:
    spec = sshd.spec("demo", Path(work), int(port))
    sys.exit(ssh.run(ClawPaths(Path(root)), spec, words, tty=sys.stdin.isatty()))
except VclawError as error:
    print(error.message, file=sys.stderr)
    sys.exit(error.exit_status)
"""


def driver(guest: tuple[ClawPaths, ClawSpec], *words: str) -> list[str]:
    """A process of its own that runs a command in the guest, as `vclaw exec` does."""
    paths, spec = guest
    where = [str(paths.root), str(spec.ssh_port), str(spec.workspace)]
    return [sys.executable, "-c", DRIVER, *where, *words]


def run(
    guest: tuple[ClawPaths, ClawSpec], *words: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        driver(guest, *words), input=given, capture_output=True, timeout=60, check=False
    )


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """A test that fails leaves no process."""
    yield
    while STARTED:
        child = STARTED.pop()
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@needs_sshd
def test_ten_megabytes_of_binary_pass_unchanged(guest: tuple[ClawPaths, ClawSpec]) -> None:
    data = os.urandom(10 * 2**20)
    done = run(guest, "cat", given=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


@needs_sshd
def test_both_streams_come_apart_from_the_workspace(guest: tuple[ClawPaths, ClawSpec]) -> None:
    done = run(guest, "sh", "-c", "pwd; echo problem >&2")
    assert done.stdout.decode().strip() == str(guest[1].workspace)
    assert done.stderr == b"problem\n"


@needs_sshd
@pytest.mark.parametrize("status", [0, 1, 2, 130, 255])
def test_the_exit_status_is_the_commands(guest: tuple[ClawPaths, ClawSpec], status: int) -> None:
    assert run(guest, "sh", "-c", f"exit {status}").returncode == status


@needs_sshd
def test_a_command_that_a_signal_ended_has_128_and_its_number(
    guest: tuple[ClawPaths, ClawSpec],
) -> None:
    assert run(guest, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


@needs_sshd
def test_the_second_command_shares_the_connection(guest: tuple[ClawPaths, ClawSpec]) -> None:
    paths, _ = guest
    assert run(guest, "true").returncode == 0
    assert ssh.connected(paths)
    key = paths.ssh_key.read_bytes()
    paths.ssh_key.write_text("no key\n")
    try:
        assert run(guest, "true").returncode == 0, "a login would have failed"
    finally:
        paths.ssh_key.write_bytes(key)


@needs_sshd
def test_what_a_killed_connection_left_is_in_nobodys_way(
    guest: tuple[ClawPaths, ClawSpec],
) -> None:
    paths, _ = guest
    sshd.disconnect(paths)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(paths.ssh_control))
    assert run(guest, "sleep", str(ssh.UNHURRIED_SECONDS)).returncode == 0
    assert not paths.ssh_control.exists()
    assert run(guest, "true").returncode == 0
    assert ssh.connected(paths)


@needs_sshd
def test_a_reader_of_the_first_commands_output_is_not_kept_waiting(
    guest: tuple[ClawPaths, ClawSpec],
) -> None:
    sshd.disconnect(guest[0])
    began = time.monotonic()
    assert run(guest, "echo", "x").stdout == b"x\n"  # waits for the end of both pipes
    assert ssh.connected(guest[0])
    assert time.monotonic() - began < 30


def start(guest: tuple[ClawPaths, ClawSpec], script: str) -> subprocess.Popen[str]:
    """Run a script whose first line is its process ids, in a process group as a terminal's."""
    child = subprocess.Popen(
        driver(guest, "sh", "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(child)
    return child


def pids(child: subprocess.Popen[str]) -> list[int]:
    assert child.stdout is not None
    return [int(word) for word in child.stdout.readline().split()]


def wait_until_gone(numbers: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        assert time.monotonic() < deadline, f"{numbers} live on"
        time.sleep(0.05)


@needs_sshd
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_commands_process_group(
    guest: tuple[ClawPaths, ClawSpec], signum: signal.Signals
) -> None:
    child = start(guest, "sh -c 'sleep 300; :' & echo $$ $!; wait")
    started = pids(child)
    os.killpg(child.pid, signum)
    child.communicate(timeout=30)
    assert child.returncode == 128 + signum
    wait_until_gone(started)


@needs_sshd
def test_ctrl_c_lets_the_command_say_its_last_words(guest: tuple[ClawPaths, ClawSpec]) -> None:
    child = start(guest, "trap 'echo cleaned; exit 7' INT; echo $$; while :; do sleep 0.1; done")
    pids(child)
    os.killpg(child.pid, signal.SIGINT)
    printed, _ = child.communicate(timeout=30)
    assert (child.returncode, printed) == (7, "cleaned\n")


@needs_sshd
def test_a_third_ctrl_c_ends_a_command_that_does_not_want_to(
    guest: tuple[ClawPaths, ClawSpec],
) -> None:
    child = start(guest, "trap '' INT TERM; echo $$; while :; do sleep 0.1; done")
    started = pids(child)
    for _ in range(3):
        assert child.poll() is None
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(1)
    child.communicate(timeout=30)
    assert child.returncode == ssh.INTERRUPTED
    wait_until_gone(started)


@needs_sshd
def test_a_connection_that_ends_is_a_failure_of_vclaw(guest: tuple[ClawPaths, ClawSpec]) -> None:
    child = start(guest, "echo $$; sleep 300")
    (shell,) = pids(child)
    sshd.disconnect(guest[0])
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (1, "The connection to demo was lost.\n")
    os.kill(shell, signal.SIGKILL)


@needs_sshd
def test_another_host_key_is_refused(guest: tuple[ClawPaths, ClawSpec]) -> None:
    paths, spec = guest
    sshd.disconnect(paths)
    known = paths.known_hosts.read_text()
    paths.known_hosts.write_text("")
    try:
        with pytest.raises(VclawError, match="demo takes no SSH connection: Host key verif"):
            ssh.connect(paths, spec)
    finally:
        paths.known_hosts.write_text(known)
    assert paths.known_hosts.read_text() == known


@needs_sshd
def test_a_guest_without_sshd_is_told_in_a_sentence(guest: tuple[ClawPaths, ClawSpec]) -> None:
    paths, spec = guest
    sshd.disconnect(paths)
    with pytest.raises(VclawError, match="demo takes no SSH connection") as caught:
        ssh.connect(paths, replace(spec, ssh_port=9))
    assert "vclaw logs demo --serial" in caught.value.hint


@contextmanager
def on_terminal(
    guest: tuple[ClawPaths, ClawSpec], script: str
) -> Iterator[tuple[subprocess.Popen[bytes], int, bytes]]:
    """Run a script on a terminal: its process, the terminal's other end, its first line."""
    parent, child = pty.openpty()
    try:
        words = driver(guest, "sh", "-c", script)
        running = subprocess.Popen(
            words, stdin=child, stdout=child, stderr=child, start_new_session=True
        )
        said = b""
        while b"\n" not in said:
            said += os.read(parent, 1000)
        yield running, parent, said
    finally:
        os.close(parent)
        os.close(child)


@needs_sshd
def test_a_terminal_carries_ctrl_c_itself(guest: tuple[ClawPaths, ClawSpec]) -> None:
    script = "test -t 0 && test -t 1 && echo ready $$; exec sleep 300"
    with on_terminal(guest, script) as (running, terminal, said):
        assert said.startswith(b"ready ")
        os.write(terminal, b"\x03")
        assert running.wait(30) == 128 + signal.SIGINT
        wait_until_gone([int(said.split()[1])])


@needs_sshd
def test_sigterm_ends_a_command_on_a_terminal_too(guest: tuple[ClawPaths, ClawSpec]) -> None:
    with on_terminal(guest, "echo $$; exec sleep 300") as (running, _, said):
        running.terminate()
        assert running.wait(30) == 128 + signal.SIGTERM
        wait_until_gone([int(said)])
