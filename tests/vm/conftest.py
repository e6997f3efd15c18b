"""One claw for each kind of image, shared by all tests that need a ready one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import CLOSED_URL
from vclaw.paths import Home


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder; where root runs the tests, it belongs to somebody else."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "hello.txt").write_text("from the host\n")
    if os.geteuid() == 0:
        for path in (folder, folder / "hello.txt"):
            os.chown(path, 1234, 1234)
    return folder


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A VCLAW_DATA_DIR with a short path, as unix sockets need it."""
    with tempfile.TemporaryDirectory(prefix="vclaw-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def env(data_dir: Path) -> dict[str, str]:
    """Claws of the tests' own; images and runtimes from the cache that this user has anyway."""
    return {
        "VCLAW_CACHE_DIR": str(Home.from_env().cache),
        "VCLAW_DATA_DIR": str(data_dir),
        "VCLAW_UBUNTU_URL": CLOSED_URL,
    }
