"""What of the boot stage is decided without a machine."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from vclaw import boot, fsutil
from vclaw.disk import DiskMeta
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.machine import DirectBoot, Machine, RootDisk, Share
from vclaw.paths import ClawPaths


def machine(arch: str = "amd64", accelerator: str = "kvm") -> Machine:
    return Machine("demo", arch, accelerator, 1, 2048, Path("/r"), (), ())


@pytest.mark.parametrize(
    ("arch", "accelerator", "words"),
    [
        ("amd64", "kvm", "root=LABEL=r console=ttyS0 quiet systemd.show_status=true ds=nocloud"),
        (
            "amd64",
            "tcg",
            "root=LABEL=r console=ttyS0 quiet systemd.show_status=true ds=nocloud "
            "tsc=reliable mitigations=off",
        ),
        ("arm64", "hvf", "root=LABEL=r console=ttyAMA0 quiet systemd.show_status=true ds=nocloud"),
    ],
)
def test_the_kernel_is_told_what_this_machine_needs(
    arch: str, accelerator: str, words: str
) -> None:
    assert boot.kernel_cmdline("root=LABEL=r", machine(arch, accelerator)) == words


@pytest.mark.parametrize(("way", "form"), [("kernel", "raw"), ("firmware", "qcow2")])
def test_the_disk_says_how_it_boots(tmp_path: Path, way: str, form: str) -> None:
    paths = ClawPaths(tmp_path)
    root = "root=LABEL=r" if way == "kernel" else ""
    meta = DiskMeta(form, 2**30, "x", "sha256:0", way, root, "", "", "", "", base="", unsynced="")
    fsutil.write_json(paths.disk_meta, {"schema": 3, **asdict(meta)})
    cmdline = boot.kernel_cmdline("root=LABEL=r", machine())
    direct = DirectBoot(paths.kernel, paths.initrd, cmdline) if way == "kernel" else None
    assert boot.root_disk(paths, machine()) == RootDisk(paths.disk, form, direct)


def test_a_workspace_that_became_a_link_is_refused(tmp_path: Path) -> None:
    project, elsewhere = tmp_path.resolve() / "project", tmp_path.resolve() / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    shares = (Share("workspace", project),)
    boot.check_workspace(replace(machine(), shares=shares))
    project.rmdir()
    project.symlink_to(elsewhere)
    with pytest.raises(UsageError, match=f"leads to {elsewhere} now"):
        boot.check_workspace(replace(machine(), shares=shares))


def test_a_claw_without_a_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(VclawError, match="has no disk yet"):
        boot.root_disk(ClawPaths(tmp_path), machine())
