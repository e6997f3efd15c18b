"""The read-only OpenClaw disk: pinned node and OpenClaw, built once and cached."""

from vclaw.runtime.builder import build
from vclaw.runtime.manifest import RuntimeManifest, load
from vclaw.runtime.recipe import DEFAULT_VERSION, MOUNT_POINT, NODE_VERSION, key
from vclaw.runtime.versions import resolve

__all__ = [
    "DEFAULT_VERSION",
    "MOUNT_POINT",
    "NODE_VERSION",
    "RuntimeManifest",
    "build",
    "key",
    "load",
    "resolve",
]
