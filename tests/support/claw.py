"""A real claw as the tests see it: vclaw's own commands, SSH into the guest, HTTP from the host."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command import run_vclaw, show
from vclaw import channel, identity
from vclaw.claws import record
from vclaw.home import Home
from vclaw.model import ClawSpec
from vclaw.paths import ClawPaths

MINUTES = 60.0
SSH_SECONDS = 120.0
"""An emulated guest that is busy takes many seconds for one handshake."""


@dataclass(frozen=True)
class Claw:
    """One claw by its name; `env` says where vclaw keeps it."""

    name: str
    env: Mapping[str, str]

    @property
    def paths(self) -> ClawPaths:
        """Its files."""
        return Home.from_env(self.env).claw(self.name)

    @property
    def spec(self) -> ClawSpec:
        """What was asked for."""
        return record.load(self.paths)

    @property
    def token(self) -> str:
        """The gateway's token."""
        return identity.load(self.paths).token

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The gateway's token and every key that OpenClaw was given."""
        who = identity.load(self.paths)
        keys = [value for name, value in who.env.items() if name.endswith("_KEY")]
        return tuple(word.encode() for word in (who.token, *keys))

    def vclaw(
        self, *words: str | Path, minutes: float = 30, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a vclaw command to its end and insist on its exit status."""
        done = run_vclaw(*words, env=self.env, timeout=minutes * MINUTES)
        assert done.returncode == status, show(done)
        assert "Traceback" not in done.stderr, show(done)
        return done

    def row(self) -> dict[str, Any]:
        """Its row of `vclaw ps --json`."""
        rows = json.loads(self.vclaw("ps", "--json").stdout)
        return next(row for row in rows if row["name"] == self.name)

    def row_when_ready(self, seconds: float = 120.0) -> dict[str, Any]:
        """Its row once `ps` calls it ready: `ps` gives a gateway 0.4 s to answer, and an emulated
        one that has just started is too busy for that now and then.
        """
        deadline = time.monotonic() + seconds
        while (row := self.row())["status"] != "ready" and time.monotonic() < deadline:
            time.sleep(2)
        return row

    def ssh(self, script: str, seconds: float = SSH_SECONDS) -> str:
        """Run a shell script in the guest as its user and return what it printed."""
        argv = [
            *("ssh", "-F", "none", "-i", self.paths.ssh_key, "-p", str(self.spec.ssh_port)),
            *("-o", f"UserKnownHostsFile={self.paths.known_hosts}"),
            *("-o", f"HostKeyAlias=vclaw-{self.name}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "BatchMode=yes", "-o", f"ConnectTimeout={int(seconds)}"),
            *("claw@127.0.0.1", script),
        ]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 30
        )
        assert done.returncode == 0, f"{script}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def report(self, seconds: float = 10.0) -> dict[str, Any]:
        """What the guest's agent says of itself."""
        return channel.ask(self.paths.channel, "status", seconds)

    def wait_for_boot(self, minutes: float = 10) -> dict[str, Any]:
        """Wait until the guest has applied its seed, and return its report."""
        deadline = time.monotonic() + minutes * MINUTES
        while time.monotonic() < deadline:
            try:
                report = self.report()
            except channel.NoAnswer:
                report = {}
            if report.get("applied"):
                return report
            time.sleep(2)
        raise AssertionError(
            f"no boot in {minutes} min: {self.paths.serial_log.read_text()[-3000:]}"
        )
