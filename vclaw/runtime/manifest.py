"""manifest.json: what is known about one built runtime disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import fsutil, schema
from vclaw.runtime import recipe


def _with_lock_digest(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not say which lock vclaw shipped then; the recipe's digest tells it."""
    lock = old["lock"]
    if lock is None and recipe.digest(old["openclaw"], old["arch"]) == old["recipe"]:
        lock = recipe.shipped_lock()
    return {**old, "lock_digest": "" if lock is None else lock_digest(lock)}


STEPS: tuple[schema.Step, ...] = (_with_lock_digest,)
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
    lock_digest: str  # sha256:<hex> of the lock that npm went by, "" where that is not known


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


def lock_digest(lock: dict[str, Any]) -> str:
    """What tells one package-lock.json from another, whatever its blanks and order."""
    text = json.dumps(lock, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
