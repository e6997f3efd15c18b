"""A template as its maker leaves it, but for the guest: its files, and their descriptions."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from vclaw import disk, fsutil, schema
from vclaw.home import Home, TemplatePaths
from vclaw.seed import SIZE_STEP
from vclaw.templates import store
from vclaw.templates.store import TemplateMeta

META = TemplateMeta(
    image="debian:12",
    image_digest="sha256:1",
    openclaw="2026.9.6",
    runtime="sha256:2",
    fingerprint="3",
    accelerator="tcg",
    cpus=1,
    memory_mib=2048,
    disk_gib=1,
    seed_bytes=SIZE_STEP,
    made_at="2026-01-31T12:00:00Z",
)

UNDER = disk.DiskMeta(
    format="raw",
    virtual_size=2**30,
    image="debian:12",
    digest="sha256:1",
    boot="firmware",
    cmdline="",
    source="",
    signed_by="",
    kernel_digest="",
    initrd_digest="",
    base="",
    unsynced="",
)


def plant(
    home: Home,
    key: str,
    meta: TemplateMeta = META,
    under: disk.DiskMeta = UNDER,
    *,
    content: bytes = b"",
) -> TemplatePaths:
    """Put a template into the cache: `content` at its disk's beginning, a memory of 16 MiB."""
    paths = home.template(key)
    paths.root.mkdir(parents=True)
    paths.disk.write_bytes(content)
    os.truncate(paths.disk, under.virtual_size)
    paths.memory.write_bytes(os.urandom(2**20))
    os.truncate(paths.memory, 2**24)
    paths.device.write_bytes(b"the devices' state")
    if under.boot == "kernel":
        for path in (paths.kernel, paths.initrd):
            path.write_bytes(path.name.encode() * 512)
    fsutil.write_json(paths.disk_meta, schema.to_json(under, disk.STEPS))
    for path in paths.root.iterdir():
        path.chmod(0o444)
    fsutil.write_json(paths.meta, schema.to_json(meta, store.STEPS))
    return paths


def lay_over(home: Home, name: str, template: TemplatePaths | None, *, note: bool = True) -> Path:
    """The folder of a claw with nothing but a disk.json, which names the template as its base."""
    paths = home.claw(name)
    fsutil.make_folder(paths.root)
    base = "" if template is None else str(template.root)
    fsutil.write_json(paths.disk_meta, schema.to_json(replace(UNDER, base=base), disk.STEPS))
    if note and template is not None:
        store.note_user(template, paths)
    return paths.root
