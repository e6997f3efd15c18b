"""Which template fits a claw: everything that shapes one, and the key that it makes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from vclaw import boot, hypervisor, seed
from vclaw.hypervisor.machine import Machine
from vclaw.images.meta import ImageMeta
from vclaw.model import NONE, ClawSpec, ImageRef

LAYOUT = 2
"""Counted up where a template changes in a way that nothing else of the recipe shows."""


@dataclass(frozen=True)
class Recipe:
    """One template that could be made, and what of a claw it depends on."""

    key: str  # debian_12-1a2b3c4d5e
    image: ImageRef
    image_digest: str  # sha256:<hex>
    runtime_digest: str  # sha256:<hex> of the runtime disk
    openclaw: str
    disk_gib: int
    machine: Machine  # of the claw that is to begin from it


def of(spec: ClawSpec, machine: Machine, image: ImageMeta, runtime_digest: str) -> Recipe:
    """The template from which a claw with this machine, image and runtime disk can begin."""
    shaping = [
        LAYOUT,
        image.digest,
        runtime_digest,
        spec.disk_gib,
        boot.kernel_cmdline(image.cmdline, machine),
        hypervisor.current().fingerprint(machine),
        _guest_files(),
    ]
    digest = hashlib.sha256(json.dumps(shaping).encode()).hexdigest()
    key = f"{spec.image.key}-{digest[:10]}"
    return Recipe(
        key=key,
        image=spec.image,
        image_digest=image.digest,
        runtime_digest=runtime_digest,
        openclaw=spec.openclaw_version,
        disk_gib=spec.disk_gib,
        machine=machine,
    )


def _guest_files() -> str:
    """What vclaw puts into a guest, whoever it is for."""
    files = seed.render(seed.template_settings(owner=(0, 0), emulated=False))
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def machine_of(recipe: Recipe, share: Path) -> Machine:
    """The machine that a template is made with: it shares the folder `share` and reaches nothing.

    Its devices are those of the claw's, which a saved guest takes for the same.
    """
    shares = tuple(replace(old, path=share, readonly=False) for old in recipe.machine.shares)
    return replace(
        recipe.machine,
        name="template",
        forwards=(),
        shares=shares,
        network=NONE,
        allow_host_port=(),
    )
