"""Nobody but their owner sees a claw's secrets, in no file, log, output or command line.

Each search is made for a word too that was put there for it: a search that looks in the wrong place
fails.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import leaks
from tests.support.claw import Claw
from tests.support.command import VCLAW, run_vclaw
from vclaw.home import Home

pytestmark = pytest.mark.vm

CANARY = b"canary-no-secret"

SECONDS = 600.0

VERBS: tuple[tuple[str, ...], ...] = (
    ("ps",),
    ("ps", "--json"),
    ("inspect", "{}"),
    ("inspect", "{}", "--json"),
    ("timeline", "{}"),
    ("ssh-config", "{}"),
    ("config", "show", "--name", "{}"),
    ("doctor",),
    ("logs", "{}", "-n", "100000"),
    ("logs", "{}", "--bootstrap", "-n", "100000"),
    ("logs", "{}", "--serial", "-n", "100000"),
    ("logs", "{}", "--qemu", "-n", "100000"),
    ("exec", "{}", "--", "true"),
    ("openclaw", "{}", "--", "--version"),
)
"""Commands whose output may end up in a bug report; `vclaw open` is there to print the token."""


@pytest.fixture
def searched(claw: Claw) -> Iterator[tuple[bytes, ...]]:
    """The claw's secrets and the canary, which runs as a command, here and in the guest, too."""
    assert all(len(word) >= 8 for word in claw.secrets)
    script = f"sleep 3600; : {CANARY.decode()}"
    child = subprocess.Popen(["sh", "-c", script])
    log = claw.paths.logs / "canary.log"
    log.write_bytes(CANARY)
    log.chmod(0o644)
    claw.ssh(f"sudo systemd-run --unit=canary sh -c '{script}'", SECONDS)
    claw.ssh(f"logger {CANARY.decode()}; sudo sh -c 'echo {CANARY.decode()} >/var/log/canary'")
    try:
        yield (*claw.secrets, CANARY)
    finally:
        child.kill()
        child.wait()
        log.unlink()
        claw.ssh("sudo systemctl stop canary; sudo rm /var/log/canary", SECONDS)


def in_guest(claw: Claw, script: str) -> bytes:
    """What a script of root prints in the guest; it holds no secret, so that it leaves none."""
    done = subprocess.run(
        [VCLAW, "exec", claw.name, "--", "sudo", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **claw.env},
        timeout=SECONDS,
        check=False,
    )
    return done.stdout


def run(claw: Claw, words: tuple[str, ...]) -> bytes:
    """All that a command prints; {} in it is the claw's name."""
    done = run_vclaw(
        *(word.replace("{}", claw.name) for word in words), env=claw.env, timeout=SECONDS
    )
    return (done.stdout + done.stderr).encode()


def test_no_file_that_others_may_read_holds_a_secret(
    claw: Claw, searched: tuple[bytes, ...]
) -> None:
    home = Home.from_env(claw.env)
    roots = [home.data, home.cache, claw.paths.state_of(claw.spec)]
    assert leaks.in_files(searched, roots) == [f"{claw.paths.logs / 'canary.log'}: {CANARY!r}"]


def test_no_command_line_and_no_output_of_the_host_holds_a_secret(
    claw: Claw, searched: tuple[bytes, ...]
) -> None:
    with leaks.watched_command_lines(searched) as seen:
        printed = {words: run(claw, words) for words in VERBS}
    assert seen
    assert {line for line in seen if not line.endswith(repr(CANARY))} == set()
    leaking = {words for words, text in printed.items() if any(s in text for s in claw.secrets)}
    assert leaking == set()
    # What was searched was the commands' true output.
    assert all(claw.name.encode() in printed[words] for words in VERBS[:4])


GUEST: dict[str, str] = {
    "journal": "journalctl --no-pager -o export",
    "logs": "find /var/log /tmp/openclaw* -type f ! -path '*/journal/*' -exec cat {} +",
    "command lines": "cat /proc/[0-9]*/cmdline",
}
"""Where in the guest is looked -> what prints it."""


@pytest.mark.parametrize("where", GUEST)
def test_nothing_in_the_guest_tells_a_secret(
    claw: Claw, searched: tuple[bytes, ...], where: str
) -> None:
    text = in_guest(claw, GUEST[where])
    assert [word for word in searched if word in text] == [CANARY]
