"""One world a test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline import world as worlds
from tests.pipeline.world import World
from vclaw import readiness
from vclaw.runtime import builder


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with a prepared claw named demo, of which no stage has run."""
    made = worlds.build(Path(tempfile.mkdtemp(prefix="vclaw-")))
    for name in ("VCLAW_CACHE_DIR", "VCLAW_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(builder, "_build", worlds.small_runtime)
    # A test makes some thirty files, and none has to survive a power cut.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(readiness, "GUEST_SECONDS", 0.05)
    monkeypatch.setattr(readiness, "LOOKS_APART", (0.05, 0.05))
    made.prepare()
    yield made
    worlds.tear_down(made)
