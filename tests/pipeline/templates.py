"""A world whose claw begins from a template that was put there by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from tests.pipeline.world import World
from tests.support.templates import META, plant
from vclaw import boot, disk, hypervisor, runtime
from vclaw.home import RuntimePaths, TemplatePaths
from vclaw.images import store as images
from vclaw.progress import Silent
from vclaw.templates import clone, recipe
from vclaw.templates.recipe import Recipe

PATIENCE = ("--ready-timeout-secs", "10")


@dataclass(frozen=True)
class TemplateWorld(World):
    """`World`, and the template that its claw begins from."""

    @property
    def recipe(self) -> Recipe:
        """The template that fits the claw."""
        meta, told = images.load(self.home, self.spec.image), boot.machine(self.paths)
        disk_made = runtime.load(RuntimePaths(told.runtime.parent).manifest)
        assert meta is not None
        assert disk_made is not None
        return recipe.of(self.spec, told, meta, disk_made.digest)

    @property
    def template(self) -> TemplatePaths:
        """Its files."""
        return self.home.template(self.recipe.key)

    @property
    def step(self) -> str:
        """How far the claw has come."""
        return clone.step(self.paths)

    @property
    def goes_on(self) -> bool:
        """Whether its machine was started to go on from a saved one."""
        process = boot.current(self.paths)
        assert process is not None
        return "-incoming" in process.argv

    @property
    def incoming(self) -> dict[str, Any] | None:
        """What fake_qemu.py was given of a saved guest, None where nothing."""
        path = self.knobs / "incoming"
        return dict(json.loads(path.read_bytes())) if path.exists() else None

    @property
    def alive(self) -> int:
        """How many of the virtual machines that were started run still."""
        from vclaw.hypervisor.process import Process, start_mark

        pids = [int(word) for word in (self.knobs / "starts").read_text().split()]
        return sum(Process(pid, start_mark(pid), ()).alive for pid in pids)


def begin(world: World) -> TemplateWorld:
    """The same world, its claw one that begins from a template; image and runtime are there."""
    spec = replace(world.spec, template=True)
    env = {**world.env, "VCLAW_TEMPLATE": "yes"}
    made = TemplateWorld(world.home, spec, world.knobs, env)
    made.prepare()
    images.fetch(made.home, spec.image, Silent())
    made.build_runtime()
    return made


def plant_for(world: TemplateWorld) -> TemplatePaths:
    """A template that fits the world's claw, as its maker would have left it."""
    image = images.load(world.home, world.spec.image)
    key = runtime.key(world.spec.openclaw_version, world.spec.image.arch)
    manifest = runtime.load(world.home.runtime(key).manifest)
    assert image is not None
    assert manifest is not None
    told = boot.machine(world.paths)
    meta = replace(
        META,
        image=image.ref,
        image_digest=image.digest,
        openclaw=world.spec.openclaw_version,
        runtime=manifest.digest,
        fingerprint=hypervisor.current().fingerprint(told),
        accelerator=told.accelerator,
        cpus=told.cpus,
        memory_mib=told.memory_mib,
        disk_gib=world.spec.disk_gib,
    )
    under = disk._describe(image, world.spec.disk_gib * disk.GIB, "")
    content = world.home.image(world.spec.image).image.read_bytes()
    return plant(world.home, world.recipe.key, meta, under, content=content)
