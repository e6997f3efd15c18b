"""Checking again, without a server, what was verified when it was made."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.image_server import ImageServer, Key, qcow2
from vclaw import disk, fsutil, integrity
from vclaw.claws import installed, record
from vclaw.cli.main import main
from vclaw.home import Home, ImagePaths, RuntimePaths
from vclaw.images import digests, store
from vclaw.images import meta as metas
from vclaw.images.meta import ImageMeta
from vclaw.integrity import Check
from vclaw.model import ClawSpec, ImageRef, host_arch
from vclaw.paths import ClawPaths
from vclaw.progress import Silent
from vclaw.runtime import recipe
from vclaw.runtime.manifest import RuntimeManifest, dump, lock_digest
from vclaw.runtime.manifest import load as load_manifest

NOBLE = ImageRef("ubuntu", "24.04", host_arch())


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


@pytest.fixture
def env(
    image_server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Where Ubuntu's images come from, for code and commands alike."""
    found = image_server.env(tmp_path)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def ubuntu_image(image_server: ImageServer, home: Home, env: dict[str, str]) -> ImagePaths:
    """A fetched image, its server gone since."""
    image_server.publish(qcow2(2**30, random.Random(1).randbytes(5000)))
    store.fetch(home, NOBLE, Silent(), env)
    image_server.files.clear()
    return home.image(NOBLE)


def problems(checks: object) -> dict[str, str]:
    """What does not hold, by the last word of its name."""
    assert hasattr(checks, "__iter__")
    found: list[Check] = list(checks)
    assert found
    assert all(check.hint for check in found if check.problem)
    return {check.name.rpartition(": ")[2]: check.problem for check in found if check.problem}


def look(paths: ImagePaths, env: dict[str, str]) -> dict[str, str]:
    meta = metas.load(paths.meta)
    assert meta is not None
    return problems(integrity.image(paths, meta, Silent(), env))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_fetched_image_holds_with_its_server_gone(
    ubuntu_image: ImagePaths, env: dict[str, str]
) -> None:
    assert look(ubuntu_image, env) == {}


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("image.img", "image.img", "its digest is"),
        ("SHA256SUMS", "signature", "not valid"),
        ("SHA256SUMS.gpg", "signature", "not valid"),
    ],
)
def test_one_changed_bit_is_found(
    ubuntu_image: ImagePaths, env: dict[str, str], name: str, check: str, said: str
) -> None:
    flip(ubuntu_image.root / name)
    found = look(ubuntu_image, env)
    assert list(found) == [check]
    assert said in found[check]


def test_an_image_and_its_record_changed_together_are_not_what_was_signed(
    ubuntu_image: ImagePaths, env: dict[str, str]
) -> None:
    flip(ubuntu_image.image)
    meta = metas.load(ubuntu_image.meta)
    assert meta is not None
    digest = "sha256:" + digests.sha256(ubuntu_image.image)
    metas.dump(ubuntu_image.meta, replace(meta, digest=digest))
    assert "does not name" in look(ubuntu_image, env)["signature"]


def test_a_list_that_somebody_else_signed_does_not_hold(
    ubuntu_image: ImagePaths, env: dict[str, str], tmp_path: Path
) -> None:
    other = Key()
    ubuntu_image.signature.write_bytes(other.sign(ubuntu_image.sums.read_bytes()))
    assert "not valid" in look(ubuntu_image, env)["signature"]
    keyring = tmp_path / "other.asc"
    keyring.write_text(other.public)
    found = look(ubuntu_image, {**env, "VCLAW_UBUNTU_KEYRING": str(keyring)})
    assert other.fingerprint in found["signature"], "good, but not the key of the fetch"


def test_an_image_whose_list_was_not_kept_cannot_be_shown_to_hold(
    ubuntu_image: ImagePaths, env: dict[str, str]
) -> None:
    ubuntu_image.sums.unlink()
    ubuntu_image.signature.unlink()
    assert "SHA256SUMS cannot be read" in look(ubuntu_image, env)["signature"]


def test_a_refreshed_image_has_the_list_of_its_own(
    image_server: ImageServer, ubuntu_image: ImagePaths, home: Home, env: dict[str, str]
) -> None:
    image_server.publish(qcow2(2**30, b"newer"))
    store.refresh(home, NOBLE, Silent(), env)
    assert look(ubuntu_image, env) == {}


def built_image(home: Home) -> tuple[ImagePaths, ImageMeta]:
    """What a Debian build leaves, described as `store` does."""
    paths = home.image(ImageRef("debian", "12", host_arch()))
    paths.root.mkdir(parents=True)
    for path in (paths.image, paths.kernel, paths.initrd):
        path.write_bytes(path.name.encode() * 512)
    ref = ImageRef("debian", "12", host_arch())
    made = store.Made(digests.sha256(paths.image), "mmdebstrap bookworm")
    return paths, store._finish(ref, paths, made)


@pytest.mark.parametrize("name", ["image.img", "vmlinuz", "initrd.img"])
def test_every_file_of_an_image_that_was_built_here_counts(home: Home, name: str) -> None:
    paths, meta = built_image(home)
    assert problems(integrity.image(paths, meta, Silent())) == {}
    flip(paths.root / name)
    assert list(problems(integrity.image(paths, meta, Silent()))) == [name]


def test_what_an_older_vclaw_did_not_record_is_told_apart_from_damage(home: Home) -> None:
    paths, _ = built_image(home)
    stored = json.loads(paths.meta.read_bytes())
    del stored["kernel_digest"], stored["initrd_digest"]
    paths.meta.write_text(json.dumps({**stored, "schema": 1}))
    meta = metas.load(paths.meta)
    assert meta is not None
    checks = [check for check in integrity.image(paths, meta, Silent()) if check.problem]
    assert [check.name.rpartition(": ")[2] for check in checks] == ["vmlinuz", "initrd.img"]
    assert all(check.unrecorded for check in checks)


def runtime_of(home: Home, lock: dict[str, Any] | None = None) -> RuntimePaths:
    """A runtime disk of a few bytes with its true manifest."""
    paths = home.runtime("openclaw")
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.disk.write_bytes(b"squashfs")
    manifest = RuntimeManifest(
        openclaw=recipe.DEFAULT_VERSION,
        node=recipe.NODE_VERSION,
        arch="amd64",
        recipe=recipe.digest(recipe.DEFAULT_VERSION, "amd64"),
        digest="sha256:" + digests.sha256(paths.disk),
        size=8,
        built_at="2026-01-31T12:00:00Z",
        lock=lock,
        lock_digest=lock_digest(lock if lock is not None else recipe.shipped_lock()),
    )
    dump(paths.manifest, manifest)
    return paths


def look_at_runtime(paths: RuntimePaths) -> dict[str, str]:
    manifest = load_manifest(paths.manifest)
    assert manifest is not None
    return problems(integrity.runtime_disk(paths, manifest, Silent()))


def test_a_runtime_holds_by_its_digest_and_the_lock_that_vclaw_ships(home: Home) -> None:
    paths = runtime_of(home)
    assert look_at_runtime(paths) == {}
    flip(paths.disk)
    assert list(look_at_runtime(paths)) == ["openclaw.squashfs"]


Change = Callable[[dict[str, Any]], object]

LOCK_CHANGES: dict[str, Change] = {
    "another digest": lambda lock: lock["packages"]["node_modules/ws"].update(integrity="sha512-x"),
    "another package": lambda lock: lock["packages"].pop("node_modules/ws"),
}


@pytest.mark.parametrize("change", LOCK_CHANGES)
def test_a_changed_lock_is_found(home: Home, change: str) -> None:
    paths = runtime_of(home, recipe.shipped_lock())
    assert look_at_runtime(paths) == {}
    stored = json.loads(paths.manifest.read_bytes())
    LOCK_CHANGES[change](stored["lock"])
    paths.manifest.write_text(json.dumps(stored))
    assert "not the one" in look_at_runtime(paths)["npm lock"]


def test_a_lock_without_a_digest_or_of_another_release_does_not_hold(home: Home) -> None:
    lock = recipe.shipped_lock()
    del lock["packages"]["node_modules/ws"]["integrity"]
    assert "no digest for node_modules/ws" in look_at_runtime(runtime_of(home, lock))["npm lock"]
    lock = recipe.shipped_lock()
    lock["packages"]["node_modules/openclaw"]["version"] = "2020.1.1"
    assert "OpenClaw 2020.1.1" in look_at_runtime(runtime_of(home, lock))["npm lock"]


def test_a_manifest_of_version_1_learns_its_lock_from_the_recipe(home: Home) -> None:
    paths = runtime_of(home)
    stored = json.loads(paths.manifest.read_bytes())
    del stored["lock_digest"]
    paths.manifest.write_text(json.dumps({**stored, "schema": 1}))
    assert look_at_runtime(paths) == {}
    paths.manifest.write_text(json.dumps({**stored, "schema": 1, "recipe": "0" * 64}))
    assert "not recorded" in look_at_runtime(paths)["npm lock"]


@pytest.fixture
def claw(home: Home) -> ClawPaths:
    """A claw with its disk, of an image that was built here, as if it had been booted."""
    image, meta = built_image(home)
    spec = ClawSpec(
        "demo", ImageRef("debian", "12", host_arch()), "2026.9.6", home.data, 1, 2048, 1, 1, 2
    )
    paths = home.claw("demo")
    paths.root.mkdir(parents=True)
    record.save(paths, spec)
    disk.create(image, meta, paths, 1, Silent())
    installed.save(paths, runtime_of(home).disk)
    return paths


def test_a_claw_keeps_what_it_was_made_from_and_booted_with(claw: ClawPaths) -> None:
    made, known = disk.load(claw.disk_meta), installed.load(claw)
    assert made is not None
    assert known is not None
    assert made.source == "mmdebstrap bookworm"
    assert made.kernel_digest.startswith("sha256:")
    assert (known.openclaw, known.node) == (recipe.DEFAULT_VERSION, recipe.NODE_VERSION)
    assert known.lock_digest == lock_digest(recipe.shipped_lock())


def test_a_claw_holds_until_its_kernel_its_image_or_its_runtime_changes(
    home: Home, claw: ClawPaths
) -> None:
    def look() -> dict[str, str]:
        return problems(integrity.claw(home, claw, Silent()))

    assert look() == {}
    for path in (
        claw.kernel,
        *home.images.glob("*/image.img"),
        *home.runtimes.glob("*/*.squashfs"),
    ):
        flip(path)
        assert list(look()) == [path.name]
        flip(path)
    fsutil.write_json(claw.installed, {**json.loads(claw.installed.read_bytes()), "digest": "x"})
    assert "another runtime" in look()["runtime"]


def test_a_claw_over_a_template_holds_until_the_kernel_that_is_kept_there_changes(
    home: Home, claw: ClawPaths
) -> None:
    """It boots with the template's, and has none of its own."""
    template = home.template("debian_12-0123456789")
    template.root.mkdir(parents=True)
    for source, target in ((claw.kernel, template.kernel), (claw.initrd, template.initrd)):
        source.rename(target)
    described = {**json.loads(claw.disk_meta.read_bytes()), "base": str(template.root)}
    fsutil.write_json(claw.disk_meta, described)
    assert problems(integrity.claw(home, claw, Silent())) == {}
    for path in (template.kernel, template.initrd):
        flip(path)
        assert list(problems(integrity.claw(home, claw, Silent()))) == [path.name]
        flip(path)
    shutil.rmtree(template.root)
    found = problems(integrity.claw(home, claw, Silent()))
    assert set(found) == {"vmlinuz", "initrd.img"}


def test_a_claw_outlives_its_image_and_its_runtime(home: Home, claw: ClawPaths) -> None:
    for path in (*home.images.glob("*/image.json"), *home.runtimes.glob("*/manifest.json")):
        path.unlink()
    assert problems(integrity.claw(home, claw, Silent())) == {}


def test_the_command_says_what_holds_by_its_exit_status(
    claw: ClawPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "demo"]) == 0
    assert "0 do not" in capsys.readouterr().out
    assert main(["verify", "debian:12"]) == 0
    flip(claw.kernel)
    capsys.readouterr()
    assert main(["verify", "demo", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is False
    assert [check["name"] for check in told["checks"] if check["problem"]] == ["claw demo: vmlinuz"]
    assert main(["verify", "debian:12"]) == 0


@pytest.mark.parametrize("what", ["nobody", "ubuntu:22.04", "", "../demo"])
def test_what_is_not_there_is_refused(
    home: Home, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", what]) == 2
    assert "vclaw ps" in capsys.readouterr().err
    assert not home.data.exists()


def test_a_claw_of_damaged_records_is_an_error_of_one_sentence(
    claw: ClawPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    claw.disk_meta.write_text("{")
    assert main(["verify", "demo"]) == 1
    assert "disk.json is damaged" in capsys.readouterr().err
