"""disk:<claw>: the claw has a disk of its own, copied from the image once."""

from __future__ import annotations

from typing import Any

from vclaw import disk
from vclaw.engine import holds, step
from vclaw.errors import VclawError
from vclaw.images import store
from vclaw.lock import locked
from vclaw.model import ClawSpec
from vclaw.paths import Home
from vclaw.progress import Progress


def task(home: Home, spec: ClawSpec, progress: Progress) -> dict[str, Any]:
    """The task `disk:my-claw`; a claw that has its disk needs its image no more."""
    paths = home.claw(spec.name)
    # An image that is gone or damaged is not fetched again for a claw that has its disk.
    made = holds(disk.is_whole, paths)()
    needed = not made or holds(store.load, home, spec.image)()
    return {
        "basename": "disk",
        "name": spec.name,
        "doc": f"copy {spec.image.name} for {spec.name}",
        "actions": [step(create, home, spec, progress)],
        "file_dep": [str(home.image(spec.image).meta)] if needed else [],
        "targets": [str(paths.disk_meta), str(paths.disk)],
        "uptodate": [made],
    }


def create(home: Home, spec: ClawSpec, progress: Progress) -> None:
    """Copy the image under the claw's lock; a disk that is there stays as it is."""
    paths = home.claw(spec.name)
    with locked(paths.lock):
        if not disk.is_whole(paths):
            store.fetch(home, spec.image, progress)
            with store.steady(home, spec.image.key):
                meta = store.load(home, spec.image)
                if meta is None:
                    raise VclawError(
                        f"{spec.image.name} was removed by another process just now.",
                        "Run the command again.",
                    )
                disk.create(home.image(spec.image), meta, paths, spec.disk_gib, progress)
