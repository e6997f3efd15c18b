"""The whole Ubuntu path: download, signature, digest, copy, firmware, GRUB, a ready claw.

The server is on the loopback and has the layout of the real one; the image is a partitioned
qcow2 that GRUB boots, made from the packages of debian:12. The claw boots by itself, and cloud-init
installs what vclaw needs in it; the Debian claw goes on from a template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import ubuntu_like
from tests.support.claw import Claw
from tests.support.command import run_vclaw
from tests.support.image_server import ImageServer
from vclaw import gateway
from vclaw.home import Home
from vclaw.images import refs
from vclaw.model import host_arch

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(host_arch() != "amd64", reason="GRUB for BIOS is amd64's"),
]

NAME = "tests-ubuntu"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    """Serves the image as ubuntu:24.04, signed with a throw-away key."""
    run_vclaw("image", "fetch", "debian:12", env={}, timeout=1800).check_returncode()
    image = tmp_path_factory.mktemp("image") / "ubuntu.img"
    home = Home.from_env()
    ubuntu_like.make(home.image(refs.parse("debian:12")).image, image)
    with ImageServer() as running:
        running.publish(image)
        yield running


@pytest.fixture(scope="module")
def claw(
    server: ImageServer, project: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Claw]:
    """A ready claw of ubuntu:24.04 in a cache of its own; the runtime disk is the shared one."""
    cache = tmp_path_factory.mktemp("cache")
    shared = Home.from_env().runtimes
    shared.mkdir(parents=True, exist_ok=True)
    (cache / "runtimes").symlink_to(shared)
    keys = tmp_path_factory.mktemp("keys")
    env = {
        **server.env(keys),
        "VCLAW_CACHE_DIR": str(cache),
        "VCLAW_DATA_DIR": str(data_dir),
    }
    claw = Claw(NAME, env)
    try:
        # No ref: the server answers, so this is the default image.
        words = ["run", f"--name={NAME}", f"--workspace={project}", "--no-template"]
        done = claw.vclaw(*words, "--ready-timeout-secs=1800", minutes=45)
        assert "image ubuntu:24.04" in done.stderr
        yield claw
    finally:
        run_vclaw("rm", NAME, "--yes", "--force", env=env, timeout=300)


def test_the_image_was_verified_and_its_copy_grown(claw: Claw, server: ImageServer) -> None:
    home = Home.from_env(claw.env)
    meta = json.loads(home.image(claw.spec.image).meta.read_text())
    assert meta["signed_by"].upper() == server.key.fingerprint
    assert (meta["format"], meta["boot"]) == ("qcow2", "firmware")
    disk = json.loads(claw.paths.disk_meta.read_text())
    assert (disk["digest"], disk["virtual_size"]) == (meta["digest"], 20 * 2**30)


def test_it_is_ready_with_its_workspace(claw: Claw) -> None:
    port = claw.spec.gateway_port
    assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=60).json()["ready"] is True
    assert gateway.health(port, claw.token, 120) is not None
    assert claw.row_when_ready()["status"] == "ready"
    assert claw.ssh("cat /workspace/hello.txt") == "from the host"


def test_quiescing_fences_the_gateway_and_releasing_lifts_it(claw: Claw) -> None:
    port, token = claw.spec.gateway_port, claw.token
    assert gateway.quiesce(port, "wrong", 60) is None
    suspension = gateway.quiesce(port, token, 60)
    assert suspension is not None
    try:
        assert gateway.probe(port, "/healthz", 30)
        assert not gateway.probe(port, "/readyz", 30)
        assert gateway.health(port, token, 60) is None
    finally:
        assert gateway.release(port, token, suspension, 60)
    assert gateway.probe(port, "/readyz", 30)


def test_the_root_partition_fills_the_disk(claw: Claw) -> None:
    assert int(claw.ssh("findmnt -n -o SIZE --bytes /")) > 18 * 2**30
