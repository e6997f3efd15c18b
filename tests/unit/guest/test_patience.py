"""The preload that gives OpenClaw's lease worker time, run by the node that guests get."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vclaw.runtime import npm

PRELOAD = Path(__file__).parents[3] / "vclaw" / "guest" / "patience.cjs"
NODE = npm.host_root() / "bin" / "node"

PRINT_DELAY = """
const timer = setTimeout(() => {}, %s);
console.log(timer._idleTimeout, typeof require('util').promisify(setTimeout));
clearTimeout(timer);
"""


@pytest.mark.parametrize(
    ("name", "delay", "expected"),
    [
        ("openclaw-state-lease-heartbeat-Bx8MXIzo.cjs", 5000, 120000),
        ("openclaw-state-lease-heartbeat-Bx8MXIzo.cjs", 4987, 120000),
        ("openclaw-state-lease-heartbeat-Bx8MXIzo.cjs", 30000, 30000),
        ("openclaw-state-lease-heartbeat-Bx8MXIzo.cjs", 250, 250),
        ("anything-else.cjs", 5000, 5000),
    ],
)
def test_only_the_lease_workers_limit_is_stretched(
    name: str, delay: int, expected: int, tmp_path: Path
) -> None:
    script = tmp_path / name
    script.write_text(PRINT_DELAY % delay)
    printed = subprocess.check_output([NODE, "--require", PRELOAD, script], text=True)
    assert printed.split() == [str(expected), "function"]
