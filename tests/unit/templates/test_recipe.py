"""Which claws begin from one template, and which need another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.hypervisor.test_argv import MACHINE
from vclaw import hypervisor, seed
from vclaw.hypervisor.machine import Machine
from vclaw.hypervisor.qemu import snapshot
from vclaw.images.meta import ImageMeta
from vclaw.model import NONE, ClawSpec, ImageRef, PortForward
from vclaw.templates import recipe

RUNTIME = "sha256:2"

TOLD = replace(MACHINE, accelerator="tcg")

SPEC = ClawSpec(
    name="demo",
    image=ImageRef("debian", "12", "amd64"),
    openclaw_version="2026.9.6",
    workspace=Path("/home/me/project"),
    cpus=4,
    memory_mib=4096,
    disk_gib=20,
    gateway_port=18789,
    ssh_port=40022,
)

IMAGE = ImageMeta(
    ref="debian:12",
    distro="debian",
    version="12",
    arch="amd64",
    serial="",
    digest="sha256:1",
    source="",
    signed_by="",
    format="raw",
    boot="kernel",
    cmdline="root=LABEL=vclaw-root",
    size=2**20,
    virtual_size=2**30,
    fetched_at="2026-01-31T12:00:00Z",
    kernel_digest="",
    initrd_digest="",
)


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in QEMU's place, so that no test depends on the host's."""
    program = tmp_path / "qemu-system-x86_64"
    program.write_bytes(b"qemu")
    monkeypatch.setattr(
        hypervisor.current().__class__,
        "fingerprint",
        lambda _, machine: snapshot.fingerprint(program, machine),
    )


def key(
    spec: ClawSpec = SPEC,
    machine: Machine = TOLD,
    image: ImageMeta = IMAGE,
    runtime_digest: str = RUNTIME,
) -> str:
    return recipe.of(spec, machine, image, runtime_digest).key


@pytest.mark.parametrize(
    ("spec", "machine"),
    [
        (replace(SPEC, name="other"), replace(TOLD, name="other")),
        (replace(SPEC, workspace=Path("/x")), TOLD),
        (replace(SPEC, gateway_port=1, publish=(PortForward(1, 2),)), replace(TOLD, forwards=())),
        (replace(SPEC, network=NONE), replace(TOLD, network=NONE)),
        (replace(SPEC, model="openai/gpt-5"), TOLD),
        (replace(SPEC, state=Path("/state"), read_only_workspace=True), TOLD),
        (SPEC, replace(TOLD, runtime=Path("/other/cache/openclaw.squashfs"))),
    ],
    ids=["name", "workspace", "ports", "network", "model", "state", "cache"],
)
def test_what_makes_one_claw_another_needs_no_other_template(
    spec: ClawSpec, machine: Machine
) -> None:
    assert key(spec, machine) == key()


@pytest.mark.parametrize(
    ("spec", "machine", "image"),
    [
        (SPEC, TOLD, replace(IMAGE, digest="sha256:2")),
        (SPEC, TOLD, replace(IMAGE, cmdline="root=/dev/vda1")),
        (replace(SPEC, disk_gib=21), TOLD, IMAGE),
        (SPEC, replace(TOLD, cpus=1), IMAGE),
        (SPEC, replace(TOLD, memory_mib=2048), IMAGE),
        (SPEC, replace(TOLD, accelerator="hvf"), IMAGE),
    ],
    ids=["image", "root", "disk", "cpus", "memory", "accelerator"],
)
def test_what_the_saved_guest_is_made_of_needs_another_template(
    spec: ClawSpec, machine: Machine, image: ImageMeta
) -> None:
    assert key(spec, machine, image) != key()


def test_another_runtime_disk_needs_another_template() -> None:
    assert key(runtime_digest="sha256:3") != key()


@pytest.mark.parametrize("name", ["apply.py", "agent.py", "vclaw-agent.service"])
def test_a_changed_file_of_the_guests_needs_another_template(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, read = key(), seed.guest_file
    monkeypatch.setattr(
        seed, "guest_file", lambda wanted: read(wanted) + (b"\n#" if wanted == name else b"")
    )
    assert key() != before


def test_the_key_is_a_folders_name_that_begins_with_the_images() -> None:
    assert key().startswith("debian_12-")
    assert "/" not in key()


def test_the_machine_that_a_template_is_made_with_reaches_nothing_and_has_the_same_devices() -> (
    None
):
    readonly = replace(TOLD.shares[1], readonly=True)
    asked = replace(TOLD, shares=(TOLD.shares[0], readonly), allow_host_port=(80,))
    made = recipe.machine_of(recipe.of(SPEC, asked, IMAGE, RUNTIME), Path("/share"))
    assert (made.network, made.forwards, made.allow_host_port) == (NONE, (), ())
    assert [(s.tag, s.path, s.readonly) for s in made.shares] == [
        *(("state", Path("/share"), False), ("workspace", Path("/share"), False))
    ]
    same = ("arch", "accelerator", "cpus", "memory_mib", "runtime")
    assert [getattr(made, name) for name in same] == [getattr(asked, name) for name in same]
    assert recipe.of(SPEC, made, IMAGE, RUNTIME).key == recipe.of(SPEC, asked, IMAGE, RUNTIME).key
