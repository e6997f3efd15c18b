"""image.json: what is known about one cached image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vclaw import fsutil, schema

STEPS: tuple[schema.Step, ...] = (
    lambda old: {**old, "kernel_digest": "", "initrd_digest": ""},  # were not recorded
)
"""What brings an older image.json up to date; see `vclaw.schema`."""


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
    kernel_digest: str  # sha256:<hex> of vmlinuz, "" for firmware
    initrd_digest: str  # sha256:<hex> of initrd.img, "" for firmware


def load(path: Path) -> ImageMeta | None:
    """Read image.json; None where there is none.

    Raises VclawError where it is damaged or of a newer schema.
    """
    hint = f"Remove the folder {path.parent} and fetch the image again."
    try:
        meta = schema.load(path, ImageMeta, STEPS, hint)
    except FileNotFoundError:
        return None
    if meta.format not in ("raw", "qcow2") or meta.boot not in ("firmware", "kernel"):
        raise schema.damaged(path, "its format or boot method is unknown", hint)
    return meta


def dump(path: Path, meta: ImageMeta) -> None:
    """Write image.json, atomically."""
    fsutil.write_json(path, schema.to_json(meta, STEPS))
