"""A user's day in a ready claw: commands, signals, copies, logs, OpenClaw's own command line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
import requests

from tests.support import wheel
from tests.support.claw import Claw
from tests.support.command import VCLAW
from vclaw import ports, ssh

pytestmark = pytest.mark.vm

SECONDS = 300.0
"""For one command in a busy emulated guest."""

NS = 1_700_000_000_123_456_789


def run(claw: Claw, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A vclaw command with a stdin of bytes."""
    return subprocess.run(
        [VCLAW, *words],
        input=given,
        capture_output=True,
        env={**os.environ, **claw.env},
        timeout=SECONDS,
        check=False,
    )


def start(claw: Claw, *words: str) -> subprocess.Popen[str]:
    """A vclaw command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [VCLAW, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **claw.env},
        start_new_session=True,
    )


def read_until(child: subprocess.Popen[str], text: str) -> None:
    """Read lines until one holds `text`; fails where none does in time."""
    assert child.stdout is not None
    alarm = threading.Timer(SECONDS, os.killpg, (child.pid, signal.SIGKILL))
    alarm.start()
    try:
        assert any(text in line for line in child.stdout), f"no {text!r} came"
    finally:
        alarm.cancel()


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes put in here are gone after the test."""
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_exec_passes_ten_megabytes_of_binary_through_unchanged(claw: Claw) -> None:
    data = os.urandom(10 * 2**20)
    done = run(claw, "exec", claw.name, "--", "cat", given=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("status", [0, 1, 130, 255])
def test_exec_returns_the_commands_exit_status(claw: Claw, status: int) -> None:
    assert run(claw, "exec", claw.name, "--", "sh", "-c", f"exit {status}").returncode == status


def test_exec_works_in_the_workspace_as_the_guests_user_with_exact_arguments(claw: Claw) -> None:
    script = 'pwd; id -un; for word; do printf "<%s>\\n" "$word"; done; echo problem >&2'
    done = run(claw, "exec", claw.name, "--", "sh", "-c", script, "sh", "a b", "", "$HOME", "'\"*")
    assert done.stdout.decode().splitlines() == [
        *("/workspace", "claw", "<a b>", "<>", "<$HOME>", "<'\"*>")
    ]
    assert done.stderr == b"problem\n"


def test_ctrl_c_ends_the_command_in_the_guest_and_all_of_its_process_group(
    claw: Claw, ended: list[subprocess.Popen[str]]
) -> None:
    script = "sleep 4321 & sudo sleep 4321 & echo started; sleep 4321"
    child = start(claw, "exec", claw.name, "--", "sh", "-c", script)
    ended.append(child)
    read_until(child, "started")
    time.sleep(3)  # all three are to be at work
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    deadline = time.monotonic() + 60
    while claw.ssh("pgrep -x sleep -a | grep 4321 || true"):
        assert time.monotonic() < deadline, "something was left in the guest"
        time.sleep(1)


def test_exec_gives_a_terminal_where_it_is_asked_for(claw: Claw) -> None:
    import pty

    parent, child = pty.openpty()
    try:
        done = subprocess.run(
            [VCLAW, "exec", claw.name, "-t", "--", "sh", "-c", "test -t 0 && test -t 1; exit $?"],
            stdin=child,
            stdout=child,
            stderr=child,
            env={**os.environ, **claw.env},
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(parent)
        os.close(child)
    assert done.returncode == 0


def test_shell_runs_a_script_from_stdin(claw: Claw) -> None:
    done = run(claw, "shell", claw.name, given=b"cd /tmp\npwd\nexit 3\n")
    assert (done.returncode, done.stdout) == (3, b"/tmp\n")


def test_exec_is_about_as_fast_as_ssh_with_a_shared_connection(claw: Claw, tmp_path: Path) -> None:
    """Prints the ratio; the limit here is loose, since a shared host makes single runs vary."""
    vclaw = str(wheel.installed(tmp_path / "venv") / "vclaw")
    ssh.connect(claw.paths, claw.spec)
    command = ssh.session_argv(claw.paths, claw.spec, "cd /workspace; true", tty=False)

    def seconds(words: list[str]) -> float:
        began = time.monotonic()
        subprocess.run(
            words, stdin=subprocess.DEVNULL, env={**os.environ, **claw.env}, check=True, timeout=60
        )
        return time.monotonic() - began

    pairs = [
        (seconds(command), seconds([vclaw, "exec", claw.name, "--", "true"])) for _ in range(9)
    ]
    plain, ours = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    print(f"ssh {plain:.3f} s, vclaw exec {ours:.3f} s, ratio {ours / plain:.2f}", file=sys.stderr)
    assert ours < 2 * plain + 0.3


def test_nothing_of_the_users_ssh_is_touched(claw: Claw) -> None:
    known = Path.home() / ".ssh" / "known_hosts"
    before = known.read_bytes() if known.exists() else None
    assert run(claw, "exec", claw.name, "--", "true").returncode == 0
    assert (known.read_bytes() if known.exists() else None) == before


def test_ssh_config_is_enough_for_plain_ssh(claw: Claw, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(claw.vclaw("ssh-config", claw.name).stdout)
    argv = ["ssh", "-F", config, f"vclaw-{claw.name}", "hostname"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.strip() == claw.name


def test_cp_keeps_modes_and_times_there_and_back(claw: Claw, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run.sh").write_bytes(os.urandom(100_000))
    (source / "sub" / "run.sh").chmod(0o750)
    (source / "link").symlink_to("sub/run.sh")
    (source / "sub").chmod(0o711)
    for path in (source / "sub" / "run.sh", source / "link", source / "sub", source):
        os.utime(path, ns=(NS, NS), follow_symlinks=False)
    claw.vclaw("cp", source, f"{claw.name}:~/there")
    assert claw.ssh("stat -c '%a %Y' ~/there/sub/run.sh ~/there/sub").splitlines() == [
        *("750 1700000000", "711 1700000000")
    ]
    claw.vclaw("cp", f"{claw.name}:~/there", tmp_path / "back")
    for name in (".", "sub", "sub/run.sh", "link"):
        was, now = (source / name).lstat(), (tmp_path / "back" / name).lstat()
        assert (stat.S_IMODE(now.st_mode), now.st_mtime_ns) == (stat.S_IMODE(was.st_mode), NS)
    run_sh = Path("sub/run.sh")
    assert (tmp_path / "back" / run_sh).read_bytes() == (source / run_sh).read_bytes()


def test_cp_does_not_follow_a_link_that_the_guest_planted(
    claw: Claw, project: Path, tmp_path: Path
) -> None:
    claw.ssh(f"echo evil >~/evil; ln -s {tmp_path} /workspace/planted")
    claw.vclaw("cp", f"{claw.name}:~/evil", project / "planted", status=2)
    claw.vclaw("cp", f"{claw.name}:~/evil", project / "planted" / "x", status=2)
    assert list(tmp_path.iterdir()) == []
    claw.ssh("rm /workspace/planted")


def test_logs_show_the_gateway_the_bootstrap_the_console_and_qemu(claw: Claw) -> None:
    assert "[gateway] ready" in claw.vclaw("logs", claw.name).stdout
    assert "vclaw: gateway done" in claw.vclaw("logs", claw.name, "--bootstrap").stdout
    assert "vclaw: gateway done" in claw.vclaw("logs", claw.name, "--serial").stdout
    claw.vclaw("logs", claw.name, "--qemu")
    last = claw.vclaw("logs", claw.name, "--bootstrap", "-n", "2").stdout.splitlines()
    assert len(last) == 2


def test_logs_follow_the_journal(claw: Claw, ended: list[subprocess.Popen[str]]) -> None:
    child = start(claw, "logs", claw.name, "--bootstrap", "-f", "-n", "1")
    ended.append(child)
    read_until(child, "vclaw-seed.service")  # systemd's word on the last start
    claw.ssh("sudo systemctl restart vclaw-seed.service", SECONDS)
    read_until(child, "vclaw: ssh done")
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=SECONDS)
    assert child.returncode == 130


def test_openclaws_command_line_has_the_gateways_environment_and_user(claw: Claw) -> None:
    done = claw.vclaw("openclaw", claw.name, "--", "config", "get", "gateway.port")
    assert done.stdout.strip().splitlines()[-1] == "18789"
    script = "sudo sh -c 'find /var/lib/openclaw -user root | head -3'"
    if claw.ssh("id -u") != "0":
        assert claw.ssh(script) == "", "nothing in the state belongs to root"


def test_a_port_is_added_to_the_running_machine_and_removed(claw: Claw) -> None:
    pid, port = claw.row()["pid"], ports.next_free(29_000, ())
    server = "python3 -m http.server 9090 --bind 0.0.0.0 --directory /workspace"
    claw.ssh(f"sudo systemd-run --unit=added {server}")
    claw.vclaw("port", "add", claw.name, f"{port}:9090")
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/hello.txt", timeout=30)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(1)
    assert answer.text == "from the host\n"
    claw.vclaw("port", "rm", claw.name, str(port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)
    claw.ssh("sudo systemctl stop added")
    assert claw.row()["pid"] == pid


def test_a_variable_is_set_by_a_restart_of_the_gateway_alone(
    claw: Claw, run_words: list[str], tmp_path: Path
) -> None:
    before = claw.row()["pid"], claw.ssh("cat /proc/sys/kernel/random/boot_id")
    file = tmp_path / "vars"
    file.write_text('PLANTED=se"cret $HOME\n')
    words = ("--env-file", file, "--ready-timeout-secs", "1800")
    claw.vclaw("env", claw.name, "set", *words, minutes=35)
    environ = claw.ssh(
        'sudo sh -c \'tr "\\0" "\\n" </proc/$(systemctl show -p MainPID --value openclaw)/environ\''
    ).splitlines()
    assert {'PLANTED=se"cret $HOME', 'GREETING=hello "you" $HOME'} <= set(environ)
    assert "nothing to change" in claw.vclaw("env", claw.name, "set", *words).stdout
    claw.vclaw(*run_words)
    assert (claw.row()["pid"], claw.ssh("cat /proc/sys/kernel/random/boot_id")) == before


def test_open_prints_the_address_that_signs_in(claw: Claw) -> None:
    printed = json.loads(claw.vclaw("open", claw.name, "--json").stdout)
    assert printed["url"] == f"http://127.0.0.1:{claw.spec.gateway_port}/#token={claw.token}"
    assert claw.vclaw("open", claw.name).stdout.strip() == printed["url"]
