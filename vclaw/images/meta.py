"""image.json: what is known about one cached image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vclaw import fsutil
from vclaw.errors import VclawError

SCHEMA = 1
"""Version of image.json; another one means that another vclaw wrote it."""


@dataclass(frozen=True)
class ImageMeta:
    """The content of image.json; the file is written last, so its image is whole."""

    ref: str  # what the user types: ubuntu:24.04, /abs/disk.img
    distro: str  # ubuntu | debian | file
    version: str  # 24.04 | 12 | <sha256>
    arch: str  # amd64 | arm64
    serial: str  # YYYYMMDD[.N] where the ref has one, else ""
    digest: str  # sha256:<hex> of image.img
    source: str  # URL, path, or the inputs of the build
    signed_by: str  # fingerprint of the OpenPGP key, "" where nothing was signed
    format: str  # raw | qcow2
    boot: str  # firmware | kernel (vmlinuz and initrd.img lie beside image.img)
    cmdline: str  # kernel arguments that name the root file system; "" for firmware
    size: int  # bytes of image.img that the disk holds (holes left out)
    virtual_size: int  # bytes that the guest sees
    fetched_at: str  # 2026-01-31T12:00:00Z


def load(path: Path) -> ImageMeta | None:
    """Read image.json; None where there is none.

    Raises VclawError where it is damaged or of another schema.
    """
    try:
        value = fsutil.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _validated(path, value)


def dump(path: Path, meta: ImageMeta) -> None:
    """Write image.json, atomically."""
    fsutil.write_json(path, {"schema": SCHEMA, **asdict(meta)})


def _validated(path: Path, value: dict[str, Any]) -> ImageMeta:
    fields = ImageMeta.__dataclass_fields__
    hint = f"Remove the folder {path.parent} and fetch the image again."
    if value.get("schema") != SCHEMA:
        raise VclawError(f"{path} is damaged: its schema is not {SCHEMA}.", hint)
    for name, field in fields.items():
        wanted = int if field.type == "int" else str
        if not isinstance(value.get(name), wanted):
            raise VclawError(f"{path} is damaged: {name} is missing or no {wanted.__name__}.", hint)
    meta = ImageMeta(**{name: value[name] for name in fields})
    if meta.format not in ("raw", "qcow2") or meta.boot not in ("firmware", "kernel"):
        raise VclawError(f"{path} is damaged: its format or boot method is unknown.", hint)
    return meta
