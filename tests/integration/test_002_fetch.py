"""An image is fetched once, and a claw's disk is a copy that stands on its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import CLOSED_URL, run_vclaw, show
from vclaw.home import Home, ImagePaths

FETCH_SECONDS = 1800
NAME = "integration-002"


@pytest.fixture
def ref(image_ref: str) -> str:
    """INTEGRATION_IMAGE_REF, or what vclaw takes by default here."""
    if image_ref:
        return image_ref
    from vclaw.images import default

    return default.choose(Home.from_env())[0].name


@pytest.fixture
def image(ref: str, shared_env: dict[str, str]) -> ImagePaths:
    """The fetched image."""
    done = run_vclaw("image", "fetch", ref, env=shared_env, timeout=FETCH_SECONDS)
    assert done.returncode == 0, show(done)
    listed = json.loads(run_vclaw("image", "ls", "--json", env=shared_env).stdout)
    assert [row["downloaded"] for row in listed if row["ref"] == ref] == [True]
    cached = Path(shared_env["VCLAW_CACHE_DIR"], "images").glob("*/image.json")
    folder = next(path.parent for path in cached if json.loads(path.read_text())["ref"] == ref)
    return ImagePaths(folder)


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _disk_info(path: Path) -> dict[str, Any]:
    """qemu-img's description; a running QEMU holds the lock, which -U passes over."""
    words: list[str | Path] = ["qemu-img", "info", "-U", "--output=json", path]
    value: dict[str, Any] = json.loads(subprocess.check_output(words))
    return value


@pytest.mark.vm
def test_the_second_fetch_makes_no_download(
    ref: str, image: ImagePaths, shared_env: dict[str, str], tmp_path: Path
) -> None:
    before = _identity(image.image), _identity(image.meta)
    # With no server and none of the programs that build an image, only the cache can serve it.
    env = {**shared_env, "VCLAW_UBUNTU_URL": CLOSED_URL, "PATH": str(tmp_path)}
    done = run_vclaw("image", "fetch", ref, env=env)
    assert done.returncode == 0, show(done)
    assert f"using cached image {ref}" in done.stdout + done.stderr
    assert (_identity(image.image), _identity(image.meta)) == before


@pytest.mark.vm
def test_a_claws_disk_is_an_independent_copy_at_least_as_large_as_the_image(
    ref: str, image: ImagePaths, shared_env: dict[str, str], workspace: Path, home: Path
) -> None:
    words = ("run", ref, f"--workspace={workspace}", f"--name={NAME}", "--no-wait")
    words += ("--no-template",)  # its disk would lie over a template's
    try:
        done = run_vclaw(*words, env=shared_env, timeout=FETCH_SECONDS)
        assert done.returncode == 0, show(done)
        disk = home / "instances" / NAME / "instance.img"
        copied, cached = _disk_info(disk), _disk_info(image.image)
        assert not disk.samefile(image.image)
        assert not disk.is_symlink()
        assert "backing-filename" not in copied
        assert copied["virtual-size"] >= cached["virtual-size"]
        assert disk.stat().st_size >= image.image.stat().st_size
    finally:
        run_vclaw("rm", NAME, "--yes", "--force", env=shared_env, timeout=300)
    assert _sha256(image.image) == json.loads(image.meta.read_text())["digest"]
