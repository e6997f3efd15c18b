"""What tests of templates need."""

from __future__ import annotations

from pathlib import Path

import pytest

from vclaw.paths import Home


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)
