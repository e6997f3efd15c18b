"""manifest.json: what is known about one built runtime disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vclaw import fsutil
from vclaw.errors import VclawError

SCHEMA = 1
"""Version of manifest.json; another one means that another vclaw wrote it."""


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

    Raises VclawError where it is damaged or of another schema.
    """
    try:
        value = fsutil.read_json(path)
    except FileNotFoundError:
        return None
    try:
        if value.pop("schema") != SCHEMA:
            raise TypeError
        return RuntimeManifest(**value)
    except (KeyError, TypeError):
        raise VclawError(
            f"{path} is damaged or was written by another vclaw.",
            f"Remove the folder {path.parent}: the next run builds it again.",
        ) from None


def dump(path: Path, manifest: RuntimeManifest) -> None:
    """Write manifest.json, atomically."""
    fsutil.write_json(path, {"schema": SCHEMA, **asdict(manifest)})
