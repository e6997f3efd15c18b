"""vclaw as users install it: from its wheel, which a checkout's editable installation is not.

What an editable installation adds to every start of the interpreter would be counted on both
sides of a comparison, and hide what vclaw itself takes.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def installed(folder: Path) -> Path:
    """Make an environment in `folder` with vclaw and nothing else; its folder of programs.

    Its interpreter is that of the tests. What needs a package that vclaw depends on fails there.
    Raises CalledProcessError, with pip's output, where the wheel cannot be built.
    """
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    pip += ["--python", str(programs / "python"), "install", "--no-deps", str(REPOSITORY)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return programs
