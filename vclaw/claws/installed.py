"""installed.json: what a claw was booted with last, whatever vclaw and its cache are by now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vclaw import __version__, fsutil, runtime, schema
from vclaw.home import RuntimePaths
from vclaw.paths import ClawPaths

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older installed.json up to date; see `vclaw.schema`."""


@dataclass(frozen=True)
class Installed:
    """The content of installed.json."""

    vclaw: str  # the version that booted it
    openclaw: str
    node: str
    runtime: str  # path of the runtime disk
    digest: str  # sha256:<hex> of the runtime disk, as its manifest said
    lock_digest: str  # sha256:<hex> of the npm lock that the runtime was installed by


def load(paths: ClawPaths) -> Installed | None:
    """Read it; None for a claw that was not booted yet. Raises VclawError where it is damaged."""
    hint = f"`vclaw stop {paths.root.name}` and `vclaw start {paths.root.name}` write it anew."
    try:
        return schema.load(paths.installed, Installed, STEPS, hint)
    except FileNotFoundError:
        return None


def save(paths: ClawPaths, disk: Path) -> None:
    """Write down what the runtime disk at `disk` holds, before a claw boots with it."""
    manifest = runtime.load(RuntimePaths(disk.parent).manifest)
    if manifest is None:  # only a disk of somebody else's making has none
        paths.installed.unlink(missing_ok=True)
        return
    made = Installed(
        vclaw=__version__,
        openclaw=manifest.openclaw,
        node=manifest.node,
        runtime=str(disk),
        digest=manifest.digest,
        lock_digest=manifest.lock_digest,
    )
    value = schema.to_json(made, STEPS)
    fsutil.write_if_changed(paths.installed, fsutil.json_bytes(value))
