"""runtime:<key>: the read-only disk with node and OpenClaw is built."""

from __future__ import annotations

from typing import Any

from vclaw import runtime
from vclaw.engine import holds, step
from vclaw.home import Home
from vclaw.model import ClawSpec
from vclaw.progress import Progress


def task(home: Home, spec: ClawSpec, progress: Progress) -> dict[str, Any]:
    """The task `runtime:openclaw-2026.9.6-amd64-<recipe>`."""
    key = runtime.key(spec.openclaw_version, spec.image.arch)
    paths = home.runtime(key)
    return {
        "basename": "runtime",
        "name": key,
        "doc": f"build the disk with OpenClaw {spec.openclaw_version}",
        "actions": [step(runtime.build, home, spec.openclaw_version, spec.image.arch, progress)],
        "targets": [str(paths.manifest), str(paths.disk)],
        "uptodate": [holds(runtime.load, paths.manifest)],
    }
