"""boot:<claw>: the claw's virtual machine runs with these settings."""

from __future__ import annotations

from typing import Any

from vclaw import boot, runtime
from vclaw.engine import holds, step
from vclaw.home import Home
from vclaw.model import ClawSpec
from vclaw.progress import Progress


def task(home: Home, spec: ClawSpec, progress: Progress) -> dict[str, Any]:
    """The task `boot:my-claw`: up to date while that very process lives and can be reached."""
    paths = home.claw(spec.name)
    runtime_paths = home.runtime(runtime.key(spec.openclaw_version, spec.image.arch))
    return {
        "basename": "boot",
        "name": spec.name,
        "doc": f"boot {spec.name}",
        "actions": [step(boot.ensure, paths, progress)],
        "file_dep": [
            str(paths.machine),
            str(paths.seed),
            str(paths.disk_meta),
            str(runtime_paths.manifest),
        ],
        "targets": [str(paths.run)],
        "uptodate": [holds(boot.is_reachable, paths)],
    }
