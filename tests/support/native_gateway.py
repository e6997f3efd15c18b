"""OpenClaw's gateway on this host, without a virtual machine: seconds instead of minutes.

It is what a claw's guest runs: the runtime disk's files, and openclaw.json as vclaw writes it, but
for the address and the folders. It listens on the loopback alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import gateway, llm, openclaw
from vclaw.model import ClawSpec

TOKEN = "the-token-of-a-test"

START_SECONDS = 600.0


@dataclass(frozen=True)
class NativeGateway:
    """A gateway that is ready; `runtime` is the unpacked runtime disk."""

    runtime: Path
    root: Path
    spec: ClawSpec

    @property
    def workspace(self) -> Path:
        """The folder that the agent works in."""
        return self.root / "workspace"

    @property
    def url(self) -> str:
        """The Control UI's address, as `vclaw run` prints it."""
        return openclaw.url(self.spec.gateway_port, TOKEN)

    def openclaw(self, *words: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run OpenClaw's command line as vclaw/guest/openclaw.sh does."""
        return subprocess.run(
            argv(self.runtime, *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(self.root, self.spec),
            cwd=self.workspace,
            timeout=seconds,
            check=False,
        )


def argv(runtime: Path, *words: str) -> list[str]:
    """OpenClaw's command line of an unpacked runtime disk."""
    program = runtime / "lib/openclaw/node_modules/openclaw/openclaw.mjs"
    return [str(runtime / "bin/node"), str(program), *words]


def environment(root: Path, spec: ClawSpec) -> dict[str, str]:
    """As vclaw/guest/apply.py sets it, in folders of the test's own."""
    return {
        **llm.placeholders(spec.model, spec.model_base_url),
        "HOME": str(root / "home"),
        "PATH": os.environ["PATH"],
        "OPENCLAW_CONFIG_PATH": str(root / "state" / "openclaw.json"),
        "OPENCLAW_STATE_DIR": str(root / "state"),
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_GATEWAY_TOKEN": TOKEN,
    }


def config(spec: ClawSpec, root: Path) -> dict[str, Any]:
    """vclaw's settings for a claw, for a gateway that listens on its host port."""
    made = openclaw.config(spec)
    made["gateway"] |= {"port": spec.gateway_port, "bind": "loopback"}
    del made["gateway"]["controlUi"]["root"]  # where a guest has it
    made["agents"]["defaults"] |= {
        "workspace": str(root / "state" / "workspace"),
        "cwd": str(root / "workspace"),
    }
    # On this host a model server is where its user says, not where a guest sees it.
    for provider in made["models"].get("providers", {}).values():
        provider["baseUrl"] = provider["baseUrl"].replace(llm.HOST_FROM_GUEST, "127.0.0.1")
    return made


@contextlib.contextmanager
def running(runtime: Path, root: Path, spec: ClawSpec) -> Iterator[NativeGateway]:
    """Start a gateway and wait until it is ready; its log is `root`/gateway.log."""
    for name in ("home", "state", "workspace"):
        (root / name).mkdir(parents=True)
    path = root / "state" / "openclaw.json"
    path.write_text(json.dumps(config(spec, root)))
    with (root / "gateway.log").open("wb") as log:
        child = subprocess.Popen(
            argv(runtime, "gateway", "run"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(root, spec),
            cwd=root / "workspace",
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not gateway.probe(spec.gateway_port, "/readyz"):
            said = (root / "gateway.log").read_text()
            assert child.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        yield NativeGateway(runtime, root, spec)
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
