"""ready:<claw>: OpenClaw answers in the claw, and the project is mounted."""

from __future__ import annotations

from typing import Any

from vclaw import readiness
from vclaw.engine import holds, step
from vclaw.home import Home
from vclaw.model import ClawSpec
from vclaw.progress import Progress


def task(home: Home, spec: ClawSpec, progress: Progress, timeout: float) -> dict[str, Any]:
    """The task `ready:my-claw`: up to date while its gateway says so; `timeout` in seconds."""
    paths = home.claw(spec.name)
    return {
        "basename": "ready",
        "name": spec.name,
        "doc": f"wait until OpenClaw is ready in {spec.name}",
        "actions": [step(readiness.wait, paths, spec.gateway_port, timeout, progress)],
        "file_dep": [str(paths.run)],
        "targets": [str(paths.ready)],
        "uptodate": [holds(readiness.is_ready, paths, spec.gateway_port)],
    }
