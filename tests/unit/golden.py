"""Comparison with a text file that holds the expected result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def check(result: str, golden: Path) -> None:
    """Fail where `result` is not the content of `golden`.

    VCLAW_UPDATE_GOLDEN=1 writes the file instead; look at its diff before you keep it.
    """
    if os.environ.get("VCLAW_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(result)
        pytest.skip(f"{golden.name} was written")
    assert result == golden.read_text(), f"differs from {golden}"
