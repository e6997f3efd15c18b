"""Programs that vclaw runs: none works on after vclaw is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from vclaw.hypervisor.process import start_mark

PARENT = """
import sys
from pathlib import Path
from vclaw import proc
argv = ["/bin/sh", "-c", "echo $$; exec sleep 60"]
if sys.argv[1] == "run":
    proc.run(argv, log=Path(sys.argv[2]))
else:
    proc.stream(argv, log=Path("/dev/null"), on_line=Path(sys.argv[2]).write_text)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("how", ["run", "stream"])
def test_a_program_ends_with_a_killed_vclaw(tmp_path: Path, how: str) -> None:
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how, told])
    deadline = time.monotonic() + 20
    while not told.exists() or not told.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int(told.read_text())
    assert start_mark(pid)
    parent.kill()
    parent.wait()
    while start_mark(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
