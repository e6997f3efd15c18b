"""The pipeline: what a ready claw needs, stage by stage, as doit tasks.

`pipeline` makes the stages of one claw; `everything` those of all images and claws there are,
for plain doit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vclaw.tasks import boot, disk, image, ready, runtime, seed, template

from vclaw.config import READY_TIMEOUT_SECS
from vclaw.home import Home
from vclaw.model import ClawSpec
from vclaw.progress import Progress

if TYPE_CHECKING:
    from vclaw.templates.recipe import Recipe


def pipeline(
    home: Home, spec: ClawSpec, progress: Progress, timeout: float = READY_TIMEOUT_SECS
) -> list[dict[str, Any]]:
    """The stages of one claw in their order; `timeout` in seconds is for the last one."""
    recipes = _templates(home, spec)
    return [
        image.task(home, spec.image, progress),
        runtime.task(home, spec, progress),
        *(template.task(home, recipe, progress) for recipe in recipes),
        *claw_stages(home, spec, recipes, progress, timeout),
    ]


def claw_stages(
    home: Home, spec: ClawSpec, recipes: Sequence[Recipe], progress: Progress, timeout: float
) -> list[dict[str, Any]]:
    """The stages that belong to one claw alone, which begins from the template of `recipes`."""
    return [
        disk.task(home, spec, recipes, progress),
        seed.task(home, spec),
        boot.task(home, spec, progress),
        ready.task(home, spec, progress, timeout),
    ]


def _templates(home: Home, spec: ClawSpec) -> list[Recipe]:
    """The template that the claw begins from: none or one.

    Which one depends on the digests of image and runtime disk: there is none while these are
    not there. A claw that has its disk has begun.
    """
    from vclaw import boot as machines
    from vclaw import disk as disks
    from vclaw import runtime as runtimes
    from vclaw.engine import holds
    from vclaw.errors import VclawError
    from vclaw.home import RuntimePaths
    from vclaw.images import store as images
    from vclaw.templates import recipe

    paths = home.claw(spec.name)
    if not spec.template or holds(disks.is_whole, paths)():
        return []
    try:
        meta, machine = images.load(home, spec.image), machines.machine(paths)
        disk = runtimes.load(RuntimePaths(machine.runtime.parent).manifest)
        if meta is None or disk is None:
            return []
        return [recipe.of(spec, machine, meta, disk.digest)]
    except (VclawError, OSError):
        return []  # the stages say what is wrong


def everything(home: Home, progress: Progress) -> Iterator[dict[str, Any]]:
    """Every stage there is: all supported images, and whatever the present claws need."""
    from vclaw.claws import record
    from vclaw.errors import VclawError
    from vclaw.images import catalogue, refs

    claws = []
    for name in record.names(home):
        try:
            claws.append(record.load(home.claw(name)))
        except VclawError:
            continue  # `vclaw ps` shows it as broken; its stages cannot be known
    wanted = [refs.parse(release.name) for release in catalogue.RELEASES]
    # By key, since one local image under two paths is one image in the cache.
    images = {ref.key: ref for ref in [*wanted, *(spec.image for spec in claws)]}
    for ref in images.values():
        yield image.task(home, ref, progress)
    runtimes = {
        task["name"]: task for task in (runtime.task(home, spec, progress) for spec in claws)
    }
    yield from runtimes.values()
    recipes = {spec.name: _templates(home, spec) for spec in claws}
    for recipe in {recipe.key: recipe for found in recipes.values() for recipe in found}.values():
        yield template.task(home, recipe, progress)
    for spec in claws:
        yield from claw_stages(home, spec, recipes[spec.name], progress, READY_TIMEOUT_SECS)
