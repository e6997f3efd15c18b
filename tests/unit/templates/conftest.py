"""What tests of templates need."""

from __future__ import annotations

from pathlib import Path

import pytest

from vclaw.home import Home


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)
