"""A claw's disk over a template's, with the real qemu-img."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.templates import UNDER, plant
from tests.unit.hypervisor.test_argv import MACHINE
from tests.unit.test_disk import meta
from vclaw import boot, crashpoints, disk, fsutil, schema
from vclaw.errors import VclawError
from vclaw.home import Home, ImagePaths, TemplatePaths
from vclaw.paths import ClawPaths
from vclaw.progress import Silent
from vclaw.templates import clone

CONTENT = os.urandom(2**20)


@pytest.fixture
def template(own_home: Path) -> TemplatePaths:
    under = replace(UNDER, boot="kernel", cmdline="root=LABEL=r")
    return plant(Home(own_home, own_home), "debian_12-0123456789", under=under, content=CONTENT)


@pytest.fixture
def claw(tmp_path: Path) -> ClawPaths:
    paths = ClawPaths(tmp_path / "demo")
    paths.root.mkdir()
    return paths


def info(path: Path) -> dict[str, Any]:
    words = ["qemu-img", "info", "--output=json", str(path)]
    return dict(json.loads(subprocess.run(words, capture_output=True, check=True).stdout))


def test_the_disk_holds_nothing_yet_and_reads_as_the_templates(
    template: TemplatePaths, claw: ClawPaths, tmp_path: Path
) -> None:
    made = disk.create_over(template, claw)
    seen = info(claw.disk)
    assert (seen["format"], seen["virtual-size"]) == ("qcow2", 2**30)
    assert (seen["backing-filename"], seen["backing-filename-format"]) == (
        str(template.disk),
        "raw",
    )
    assert claw.disk.stat().st_size < 2**20
    words = ["qemu-img", "convert", "-O", "raw", claw.disk, tmp_path / "flat"]
    subprocess.run(words, check=True)
    assert (tmp_path / "flat").read_bytes()[: 2**20] == CONTENT
    assert made == disk.load(claw.disk_meta)
    assert (made.format, made.base, made.unsynced) == ("qcow2", str(template.root), "")
    assert disk.is_whole(claw)


def test_the_disk_is_its_owners_alone_and_the_template_stays_as_it_was(
    template: TemplatePaths, claw: ClawPaths
) -> None:
    before = template.disk.stat()
    disk.create_over(template, claw)
    assert claw.disk.stat().st_mode & 0o777 == 0o600
    after = template.disk.stat()
    assert (after.st_mtime_ns, after.st_blocks) == (before.st_mtime_ns, before.st_blocks)


@pytest.mark.parametrize("name", ["a,b", "a:b", "a b", "json:{}", "ü", "a=b%s"])
def test_a_cache_of_any_name_can_lie_below(tmp_path: Path, claw: ClawPaths, name: str) -> None:
    home = Home(tmp_path / name, tmp_path)
    template = plant(home, "debian_12-0123456789", content=CONTENT)
    disk.create_over(template, claw)
    assert info(claw.disk)["full-backing-filename"] == str(template.disk)


def test_the_claw_is_fresh_before_its_disk_is_described(
    template: TemplatePaths, claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, bool]] = []

    def look(point: str) -> None:
        seen.append((point, clone.step(claw), claw.disk_meta.exists()))

    monkeypatch.setattr(crashpoints, "reach", look)
    disk.create_over(template, claw)
    assert ("clone.fresh", clone.FRESH, False) in seen


def test_a_disk_of_its_own_that_takes_the_place_of_an_unfinished_one_is_not_fresh(
    template: TemplatePaths, claw: ClawPaths
) -> None:
    """The saved guest would meet a disk that it does not know."""
    disk.create_over(template, claw)
    claw.disk_meta.unlink()
    image = ImagePaths(template.root.parent / "image")
    image.root.mkdir()
    image.image.write_bytes(bytes(64 * 2**20))
    made = disk.create(image, meta(), claw, 1, Silent())
    assert made.base == ""
    assert clone.step(claw) == ""


def test_a_claw_over_a_template_boots_with_the_kernel_that_is_kept_there(
    template: TemplatePaths, claw: ClawPaths
) -> None:
    disk.create_over(template, claw)
    root = boot.root_disk(claw, MACHINE)
    assert (root.path, root.format, root.base) == (claw.disk, "qcow2", template.disk)
    assert root.boot is not None
    assert (root.boot.kernel, root.boot.initrd) == (template.kernel, template.initrd)


def test_a_claw_whose_template_is_gone_is_told_so_in_two_sentences(
    template: TemplatePaths, claw: ClawPaths
) -> None:
    disk.create_over(template, claw)
    template.disk.unlink()
    with pytest.raises(VclawError, match="is gone") as caught:
        boot.root_disk(claw, MACHINE)
    assert "vclaw rm demo" in caught.value.hint


@pytest.mark.parametrize("text", [None, "{"])
def test_a_template_without_a_readable_disk_json_makes_no_disk(
    template: TemplatePaths, claw: ClawPaths, text: str | None
) -> None:
    template.disk_meta.unlink()
    if text is not None:
        template.disk_meta.write_text(text)
    with pytest.raises(VclawError):
        disk.create_over(template, claw)
    assert list(claw.root.iterdir()) == []


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_disk_json_is_of_a_disk_of_its_own(claw: ClawPaths, version: int) -> None:
    value = schema.to_json(UNDER, disk.STEPS)
    later = {2: ["base"], 1: ["base", "source", "signed_by", "kernel_digest", "initrd_digest"]}
    old = {key: item for key, item in value.items() if key not in later[version]}
    fsutil.write_json(claw.disk_meta, {**old, "schema": version})
    assert disk.load(claw.disk_meta) == UNDER
