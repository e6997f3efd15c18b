"""`vclaw image fetch` from the loopback, against `curl` and `sha256sum`."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.support.command import VCLAW
from vclaw.model import host_arch

IMAGE_MIB = 600
"""About the size of Ubuntu's server image."""

RELEASE = "releases/noble/release"


def compare(folder: Path) -> Iterable[Result]:
    """Both download 600 MiB from a server of its own process and compare their sha256."""
    site, home = folder / "site", folder / "home"
    name = f"ubuntu-24.04-server-cloudimg-{host_arch()}.img"
    _make_site(site / RELEASE, name, folder / "key.asc")
    with _server(site) as url:
        env = {"VCLAW_HOME": str(home), "VCLAW_CACHE_DIR": "", "VCLAW_DATA_DIR": ""}
        env |= {"VCLAW_UBUNTU_URL": url, "VCLAW_UBUNTU_KEYRING": str(folder / "key.asc")}

        def ours() -> float:
            shutil.rmtree(home, ignore_errors=True)
            return seconds_of_command([VCLAW, "image", "fetch", "ubuntu:24.04"], env)

        def theirs() -> float:
            work = folder / "curl"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            script = (
                'curl -fsS -o SHA256SUMS "$0/SHA256SUMS" && curl -fsS -o "$1" "$0/$1" && '
                "sha256sum --check --quiet SHA256SUMS"
            )
            return seconds_of_command(["sh", "-c", script, f"{url}/{RELEASE}", name], cwd=work)

        yield in_turns("image fetch", "curl + sha256sum", 1.3, ours, theirs, rounds=5)


def _make_site(release: Path, name: str, key: Path) -> None:
    """A folder as the image server has it, signed with a throw-away key."""
    import pysequoia

    release.mkdir(parents=True)
    chunk = random.Random(1).randbytes(2**20)
    digest = hashlib.sha256()
    with (release / name).open("wb") as file:
        for _ in range(IMAGE_MIB):
            file.write(chunk)
            digest.update(chunk)
    sums = f"{digest.hexdigest()} *{name}\n".encode()
    (release / "SHA256SUMS").write_bytes(sums)
    secret = pysequoia.Tsk.generate("Bench <bench@example.org>")
    key.write_bytes(bytes(secret.extract_certificate()))
    signature = pysequoia.sign(
        secret.signer(), sums, mode=pysequoia.SignatureMode.DETACHED, armor=False
    )
    (release / "SHA256SUMS.gpg").write_bytes(signature)


@contextlib.contextmanager
def _server(site: Path) -> Iterator[str]:
    """Python's own HTTP server in a process of its own; yields its URL."""
    words = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        words, cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            # "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
            port = server.stdout.readline().split(" port ")[1].split()[0]
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield url
        finally:
            server.terminate()


def _wait(url: str) -> None:
    for _ in range(50):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"The server at {url} did not start.")
