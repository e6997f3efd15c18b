"""disk:<claw>: the claw has a disk of its own, copied from the image once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vclaw.tasks import template

from vclaw import disk
from vclaw.engine import holds, step
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.images import store
from vclaw.lock import locked
from vclaw.model import ClawSpec
from vclaw.paths import ClawPaths
from vclaw.progress import Progress
from vclaw.templates import store as kept
from vclaw.templates.recipe import Recipe


def task(
    home: Home, spec: ClawSpec, templates: Sequence[Recipe], progress: Progress
) -> dict[str, Any]:
    """The task `disk:my-claw`; a claw that has its disk needs its image no more.

    `templates` are the one, or none, that its disk is to lie over.
    """
    paths = home.claw(spec.name)
    # An image that is gone or damaged is not fetched again for a claw that has its disk.
    made = holds(disk.is_whole, paths)()
    needed = not made or holds(store.load, home, spec.image)()
    return {
        "basename": "disk",
        "name": spec.name,
        "doc": f"copy {spec.image.name} for {spec.name}",
        "actions": [step(create, home, spec, templates, progress)],
        "task_dep": [f"template:{template.name(recipe)}" for recipe in templates],
        "file_dep": [str(home.image(spec.image).meta)] if needed else [],
        "targets": [str(paths.disk_meta), str(paths.disk)],
        "uptodate": [made],
    }


def create(home: Home, spec: ClawSpec, templates: Sequence[Recipe], progress: Progress) -> None:
    """Make the claw's disk under its lock, over a template or as a copy of the image.

    A disk that is there stays as it is.
    """
    paths = home.claw(spec.name)
    with locked(paths.lock):
        if disk.is_whole(paths) or any(_over(home, paths, recipe) for recipe in templates):
            return
        store.fetch(home, spec.image, progress)
        with store.steady(home, spec.image.key):
            meta = store.load(home, spec.image)
            if meta is None:
                raise VclawError(
                    f"{spec.image.name} was removed by another process just now.",
                    "Run the command again.",
                )
            disk.create(home.image(spec.image), meta, paths, spec.disk_gib, progress)


def _over(home: Home, paths: ClawPaths, recipe: Recipe) -> bool:
    """Lay the claw's disk over a template's; False where there is no such template."""
    made = home.template(recipe.key)
    with kept.steady(home, recipe.key):
        if not holds(kept.is_whole, made)():
            return False
        kept.note_user(made, paths)
        disk.create_over(made, paths)
        return True
