"""One claw for each kind of image, shared by all tests that need a ready one.

The Debian claw's tests run in the order of their files' names: ready, at work, its life and end.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.claw import Claw
from tests.support.command import CLOSED_URL, run_vclaw, show
from tests.support.model_server import MODEL, ModelServer
from tests.support.services import two_services
from vclaw import ports
from vclaw.home import Home

NAME = "tests-debian"

READY_SECONDS = "1800"
"""An emulated guest on a slow host may need most of it; nothing waits for it otherwise."""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder; where root runs the tests, it belongs to somebody else."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "hello.txt").write_text("from the host\n")
    if os.geteuid() == 0:
        for path in (folder, folder / "hello.txt"):
            os.chown(path, 1234, 1234)
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A VCLAW_DATA_DIR with a short path, as unix sockets need it."""
    with tempfile.TemporaryDirectory(prefix="vclaw-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """The server on the host that answers the claw's agent in place of a model."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def env(data_dir: Path) -> dict[str, str]:
    """Claws of the tests' own; images and runtimes from the cache that this user has anyway."""
    return {
        "VCLAW_CACHE_DIR": str(Home.from_env().cache),
        "VCLAW_DATA_DIR": str(data_dir),
        "VCLAW_UBUNTU_URL": CLOSED_URL,
        "FAKE_API_KEY": f"planted-{secrets.token_hex(8)}",
    }


@pytest.fixture(scope="session")
def services() -> Iterator[tuple[int, int]]:
    """Two ports of the host's loopback that answer; the claw is allowed the first one."""
    with two_services() as ports_of_both:
        yield ports_of_both


@pytest.fixture(scope="session")
def run_words(project: Path, model: ModelServer, services: tuple[int, int]) -> list[str]:
    """The command that made the claw; the same words again find it.

    Its port is another than the gateway's in the guest, and its key is in the environment alone.
    """
    words = ["run", "debian:12", f"--name={NAME}", f"--workspace={project}"]
    words += ["--network", "internet", "--allow-host-port", str(services[0])]
    words += [f"--port={ports.next_free(28789, ())}", "--publish", "28080:8080"]
    words += ["--model", f"fake/{MODEL}", "--model-base-url", model.base_url]
    words += ["--env", "FAKE_API_KEY"]
    return [*words, "--env", 'GREETING=hello "you" $HOME']


@pytest.fixture(scope="session")
def claw(env: dict[str, str], run_words: list[str]) -> Iterator[Claw]:
    """A ready claw, after a first wait that was far too short."""
    impatient = run_vclaw(*run_words, "--ready-timeout-secs", "15", env=env, timeout=1800)
    claw = Claw(NAME, env)
    try:
        assert impatient.returncode == 1, show(impatient)
        assert "was not ready within 15 s: 'gateway live'" in impatient.stderr, show(impatient)
        assert str(claw.paths.serial_log) in impatient.stderr, show(impatient)
        assert claw.row()["status"] == "unhealthy"
        assert "was not ready within 15 s" in claw.row()["last_error"]
        claw.vclaw(*run_words, "--ready-timeout-secs", READY_SECONDS, minutes=40)
        yield claw
    finally:
        run_vclaw("rm", NAME, "--yes", "--force", env=env, timeout=300)
