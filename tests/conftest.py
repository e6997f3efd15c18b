"""What every test may use, and what keeps each of them away from the user's own files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.image_server import ImageServer

# A shell that puts this in the background lets it, and all that it starts, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def image_server() -> Iterator[ImageServer]:
    """A loopback image server with a throw-away key, empty at first."""
    with ImageServer() as server:
        yield server


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A VCLAW_HOME of the test's own, in the environment too."""
    for name in ("VCLAW_CACHE_DIR", "VCLAW_DATA_DIR", "VCLAW_UBUNTU_URL", "VCLAW_UBUNTU_KEYRING"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("VCLAW_HOME", str(home))
    return home
