"""image:<ref>: the image is in the cache, fetched or built, and verified."""

from __future__ import annotations

from typing import Any

from vclaw.engine import holds, step
from vclaw.home import Home
from vclaw.images import store
from vclaw.model import ImageRef
from vclaw.progress import Progress


def task(home: Home, ref: ImageRef, progress: Progress) -> dict[str, Any]:
    """The task `image:debian-12`; a cached image is not looked into again."""
    return {
        "basename": "image",
        "name": name(ref),
        "doc": f"fetch or build {ref.name}",
        "actions": [step(store.fetch, home, ref, progress)],
        "targets": [str(home.image(ref).meta), str(home.image(ref).image)],
        "uptodate": [holds(store.load, home, ref)],
    }


def name(ref: ImageRef) -> str:
    """The task's name, without its basename."""
    return ref.key.replace("_", "-")
