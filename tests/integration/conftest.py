"""What the integration tests share: a home of their own, a project, the image to take."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import CLOSED_URL
from vclaw.home import Home


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty VCLAW_HOME; its path is short, since sockets' paths must be."""
    with tempfile.TemporaryDirectory(prefix="vclaw-") as folder:
        yield Path(folder, "home")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A project folder with one file."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "hello.txt").write_text("from the host\n")
    return folder


@pytest.fixture
def offline_env(home: Path) -> dict[str, str]:
    """Everything vclaw keeps goes to `home`, and no image server answers."""
    return {
        "VCLAW_HOME": str(home),
        "VCLAW_CACHE_DIR": "",
        "VCLAW_DATA_DIR": "",
        "VCLAW_UBUNTU_URL": CLOSED_URL,
    }


@pytest.fixture
def shared_env(home: Path) -> dict[str, str]:
    """Claws go to `home`; images and runtimes come from the cache that this user has anyway.

    Nothing in a cache is ever changed, and building it anew would take minutes.
    """
    return {"VCLAW_CACHE_DIR": str(Home.from_env().cache), "VCLAW_DATA_DIR": str(home)}


@pytest.fixture
def image_ref() -> str:
    """INTEGRATION_IMAGE_REF, or "" for vclaw's default image."""
    return os.environ.get("INTEGRATION_IMAGE_REF", "")
