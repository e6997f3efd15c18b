"""manifest.json: what is known about one built runtime disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import fsutil, schema

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older manifest.json up to date; see `vclaw.schema`."""


@dataclass(frozen=True)
class RuntimeManifest:
    """The content of manifest.json; it appears together with its disk."""

    openclaw: str  # 2026.9.6
    node: str  # 24.19.0
    arch: str  # amd64 | arm64
    recipe: str  # sha256 in hex of all that shaped the disk
    digest: str  # sha256:<hex> of openclaw.squashfs
    size: int  # bytes of openclaw.squashfs
    built_at: str  # 2026-01-31T12:00:00Z
    lock: dict[str, Any] | None  # package-lock.json; None where vclaw ships it


def load(path: Path) -> RuntimeManifest | None:
    """Read manifest.json; None where there is none.

    Raises VclawError where it is damaged or of a newer schema.
    """
    hint = f"Remove the folder {path.parent}: the next run builds it again."
    try:
        return schema.load(path, RuntimeManifest, STEPS, hint)
    except FileNotFoundError:
        return None


def dump(path: Path, manifest: RuntimeManifest) -> None:
    """Write manifest.json, atomically."""
    fsutil.write_json(path, schema.to_json(manifest, STEPS))
