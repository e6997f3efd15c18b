"""What plain doit loads: every stage there is, and settings that ignore the current directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vclaw.tasks import everything

from vclaw import engine, fsutil
from vclaw.home import Home
from vclaw.progress import for_stderr

_HOME = Home.from_env()
fsutil.make_folder(_HOME.data, 0o700)

# A database of its own: a claw's is used under that claw's lock alone. Every action may be
# repeated, so that neither misses what the other did.
engine.mend(_HOME.data / "doit.db")
DOIT_CONFIG = engine.settings(_HOME.data / "doit.db")


def task_vclaw() -> Iterator[dict[str, Any]]:
    """Every stage there is."""
    yield from everything(_HOME, for_stderr())
