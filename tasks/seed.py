"""seed:<claw>: the NoCloud seed says what guest.json says."""

from __future__ import annotations

from typing import Any

from vclaw import seed
from vclaw.engine import step
from vclaw.home import Home
from vclaw.model import ClawSpec


def task(home: Home, spec: ClawSpec) -> dict[str, Any]:
    """The task `seed:my-claw`; it depends on vclaw's own guest files too."""
    paths = home.claw(spec.name)
    return {
        "basename": "seed",
        "name": spec.name,
        "doc": f"write the seed of {spec.name}",
        "actions": [step(seed.build, paths.guest, paths.seed)],
        "file_dep": [str(paths.guest), *(str(path) for path in seed.guest_file_paths())],
        "targets": [str(paths.seed)],
    }
