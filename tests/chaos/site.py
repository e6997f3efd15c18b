"""A home of its own for chaos, with two images, an image server, and eyes that trust no command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from tests.chaos import guest
from tests.pipeline.world import free_port, small_runtime
from tests.support.command import VCLAW
from tests.support.image_server import ImageServer
from vclaw import runtime
from vclaw.fsutil import TEMPORARY
from vclaw.home import Home
from vclaw.model import host_arch
from vclaw.paths import ClawPaths

UBUNTU = "ubuntu:24.04"

MIB = 2**20

HUNG_SECONDS = 90.0
"""No command here takes a tenth of it; one that does hangs."""

SETTLE_SECONDS = 5.0
"""How long processes that were just killed may take to be gone."""


@dataclass(frozen=True)
class Done:
    """How a command ended: `status` is negative where a signal ended it, as subprocess says."""

    words: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return f"vclaw {' '.join(self.words)} -> {self.status}\n{self.stdout}{self.stderr}"


class Lost(AssertionError):
    """Something was lost, or `ps` did not tell the truth."""


class Orphan(Lost):
    """A QEMU runs that `ps` does not show."""


def _at_birth(stderr: str) -> bool:
    """Whether SIGINT met a Python that had not come to vclaw's code yet, which cannot help it."""
    return "KeyboardInterrupt" in stderr and "vclaw/" not in stderr.replace(str(VCLAW), "")


@dataclass
class Site:
    """`file` is the local image; `seen` what each claw had when it was last looked at."""

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vc-", dir="/tmp")))
    server: ImageServer = field(default_factory=ImageServer)
    images: dict[str, bytes] = field(default_factory=dict)  # sha256 digest -> content
    released: int = 0
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)  # claw -> (token, boots)

    def __enter__(self) -> Self:
        self.home = Home(self.root / "cache", self.root / "data")
        self.home.cache.mkdir()
        self.workspace = self.root / "project"
        self.workspace.mkdir()
        (self.workspace / "work").write_text("the user's own\n")
        self.kept = self.root / "kept"
        self.file = self.root / "tiny.img"
        self.file.write_bytes(guest.image(2 * MIB))
        self.know(self.file.read_bytes())
        self.server.__enter__()
        self.port = free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VCLAW")},
            "VCLAW_CACHE_DIR": str(self.home.cache),
            "VCLAW_DATA_DIR": str(self.home.data),
            "VCLAW_TEMPLATE": "no",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **self.server.env(self.root),
        }
        self.release()
        self.provide_runtime()
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.qemus():
            os.kill(pid, signal.SIGKILL)
        self.server.__exit__(None, None, None)
        shutil.rmtree(self.root)

    def provide_runtime(self) -> None:
        """Have a runtime disk, which `prune` removes: a small one, as the guest reads none of it.

        Without it a run would build the real one, with minutes of npm.
        """
        version, arch = runtime.DEFAULT_VERSION, host_arch()
        paths = self.home.runtime(runtime.key(version, arch))
        if not paths.manifest.exists():
            small_runtime(paths, version, arch, None)

    def release(self) -> None:
        """Let the image server have a newer image."""
        self.released += 1
        content = guest.image(6 * MIB, self.released)
        self.know(content)
        self.download = self.server.publish(content)

    def know(self, content: bytes) -> None:
        """Remember an image by its digest."""
        import hashlib

        self.images[f"sha256:{hashlib.sha256(content).hexdigest()}"] = content

    def claw(self, name: str) -> ClawPaths:
        """The files of a claw."""
        return self.home.claw(name)

    # Commands

    def begin(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command; `finish` waits for it."""
        return subprocess.Popen(
            [VCLAW, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env, **(env or {})},
            cwd=self.workspace,
        )

    def finish(self, child: subprocess.Popen[str], began: float) -> Done:
        """Wait for a command; raises Lost where it hangs or shows a traceback."""
        words = tuple(str(word) for word in child.args[1:])  # type: ignore[index]
        try:
            stdout, stderr = child.communicate(timeout=HUNG_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            stdout, stderr = child.communicate()
            raise Lost(f"vclaw {' '.join(words)} hung: {stdout}{stderr}") from None
        done = Done(words, child.returncode, stdout, stderr, time.monotonic() - began)
        if ("Traceback" in stderr or "internal error" in stderr) and not _at_birth(stderr):
            raise Lost(f"a traceback: {done}")
        return done

    def vclaw(self, *words: str) -> Done:
        """Run a command to its end."""
        began = time.monotonic()
        return self.finish(self.begin(*words), began)

    def must(self, *words: str) -> Done:
        """Run a command that has to succeed."""
        done = self.vclaw(*words)
        if done.status != 0:
            raise Lost(f"it failed: {done}")
        return done

    def ps(self) -> dict[str, dict[str, Any]]:
        """The rows of `vclaw ps` by claw."""
        return {row["name"]: row for row in json.loads(self.must("ps", "--json").stdout)}

    # What is true, whatever commands say

    def qemus(self) -> dict[int, str]:
        """pid -> claw of every QEMU whose command line names this site's claws."""
        found = {}
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or [""]
            mine = any(str(self.home.instances) in word for word in words)
            if mine and Path(words[0]).name.startswith("qemu-system"):
                found[process.pid] = words[words.index("-name") + 1].removeprefix("vclaw-")
        return found

    def runs(self, name: str, seconds: float = 20.0) -> bool:
        """Whether the guest shows life: its console grows within that time."""
        log = self.claw(name).serial_log
        size = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if log.exists() and log.stat().st_size > size:
                return True
            time.sleep(0.05)
        return False

    def check_truth(self) -> dict[str, dict[str, Any]]:
        """Compare `ps` with the world; returns its rows. Raises Orphan or Lost."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            rows = self.ps()
            shown = {row["pid"]: name for name, row in rows.items() if row["pid"] is not None}
            there = self.qemus()
            states = {name: row["status"] for name, row in rows.items()}
            if shown == there and "unhealthy" not in states.values():
                break
            if time.monotonic() > deadline:
                kind = Orphan if set(there) - set(shown) else Lost
                raise kind(f"ps shows {shown} {states}, and there are {there}")
            time.sleep(0.2)
        for name, row in rows.items():
            self._check_row(name, row)
        return rows

    def _check_row(self, name: str, row: dict[str, Any]) -> None:
        up = row["pid"] is not None
        status = row["status"]
        if up != (status in ("booting", "running", "ready", "suspended")):
            raise Lost(f"ps shows {name} as {status} with process {row['pid']}")
        if status == "booting" and not self.runs(name):
            raise Lost(f"ps shows {name} as booting, and its guest stands still")
        if status == "suspended" and self.runs(name, 0.3):
            raise Lost(f"ps shows {name} as suspended, and its guest runs")
        if status == "broken" and self.claw(name).spec.exists():
            raise Lost(f"{name} is broken: {row['last_error']}")

    def check_whole(self) -> None:
        """Every image verifies, every claw has its disk, its state and its identity."""
        import hashlib

        for folder in self.home.images.iterdir() if self.home.images.is_dir() else ():
            if (folder / "image.json").exists():
                told = json.loads((folder / "image.json").read_text())["digest"]
                with (folder / "image.img").open("rb") as file:
                    found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                if told != found or found not in self.images:
                    raise Lost(f"{folder} holds {found}, and image.json says {told}")
        if (self.workspace / "work").read_text() != "the user's own\n":
            raise Lost("the workspace was changed")
        for name in list(self.seen):
            if not self.claw(name).root.exists():
                del self.seen[name]
        for root in self.home.instances.glob("[!.]*"):
            self._check_claw(self.claw(root.name))

    def _check_claw(self, paths: ClawPaths) -> None:
        name = paths.root.name
        token, boots = self.seen.get(name, ("", 0))
        if paths.disk_meta.exists():
            image = self.images[json.loads(paths.disk_meta.read_text())["digest"]]
            if problem := guest.damage(paths.disk, image):
                raise Lost(problem)
            if guest.boots(paths.disk) < boots:
                raise Lost(f"the disk of {name} forgot that it was booted {boots} times")
            boots = guest.boots(paths.disk)
        elif boots:
            raise Lost(f"the disk of {name} is gone")
        if paths.spec.exists():
            now = json.loads(paths.secrets.read_text())["token"]
            if token and now != token:
                raise Lost(f"{name} has got another token")
            token = now
            if paths.secrets.stat().st_mode & 0o77:
                raise Lost(f"{paths.secrets} can be read by others")
        elif token:
            raise Lost(f"{paths.spec} is gone")
        memory = paths.state / "memory"
        if name in self.seen and not memory.exists():
            memory = self.kept / "memory"  # a removal that was cut short may have put it there
        if memory.exists() and memory.read_text() != token:
            raise Lost(f"the state of {name} was changed")
        if name in self.seen and not memory.exists():
            raise Lost(f"the state of {name} is gone")
        if token and paths.state.is_dir():
            (paths.state / "memory").write_text(token)
            self.seen[name] = (token, boots)

    def temporaries(self) -> list[str]:
        """Files and folders that nobody needs once a command has ended."""
        found = []
        for base in (self.home.cache, self.home.data):
            for path in base.rglob("*"):
                name = path.name
                if (
                    TEMPORARY.fullmatch(name)
                    or name.startswith((".removed-", "host_key"))
                    or name.endswith((".building", ".pub", "-journal"))
                ):
                    found.append(str(path.relative_to(self.root)))
        return found

    def leftovers(self) -> list[str]:
        """`temporaries`, and the parts of downloads, which only the same download goes on with."""
        parts = [*self.home.images.glob("*/*.part*"), *self.home.images.glob("*/refresh")]
        return self.temporaries() + [str(path.relative_to(self.root)) for path in parts]
