"""template:<key>: a booted guest is kept from which claws like this one begin."""

from __future__ import annotations

from typing import Any

from vclaw.engine import holds, step
from vclaw.home import Home
from vclaw.progress import Progress
from vclaw.templates import builder, store
from vclaw.templates.recipe import Recipe


def task(home: Home, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """The task `template:debian-12-1a2b3c4d5e`; claws do without one that cannot be made."""
    paths = home.template(recipe.key)
    manifest = recipe.machine.runtime.parent / "manifest.json"
    return {
        "basename": "template",
        "name": name(recipe),
        "doc": f"keep a booted guest of {recipe.image.name} with OpenClaw {recipe.openclaw}",
        "actions": [step(builder.ensure, home, recipe, progress)],
        "file_dep": [str(home.image(recipe.image).meta), str(manifest)],
        "targets": [str(paths.meta)],
        "uptodate": [holds(store.is_whole, paths)],
    }


def name(recipe: Recipe) -> str:
    """The task's name, without its basename."""
    return recipe.key.replace("_", "-")
