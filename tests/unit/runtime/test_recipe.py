"""The recipe of the runtime disk: pure decisions and the shipped lock file."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from vclaw import openclaw
from vclaw.model import ClawSpec, ImageRef
from vclaw.runtime import recipe

SPEC = ClawSpec("demo", ImageRef("debian", "12", "amd64"), "1", Path("/me"), 1, 2048, 9, 1, 2)

MODULES = "lib/openclaw/node_modules"


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((recipe.SHIPPED / "package-lock.json").read_bytes())
    return value


@pytest.mark.parametrize(
    "path",
    [
        "bin/node",
        "lib/node_modules/npm/bin/npm-cli.js",
        "lib/node_modules/npm/node_modules/glob/LICENSE.md",
        "lib/openclaw/package.json",
        f"{MODULES}/openclaw/openclaw.mjs",
        f"{MODULES}/openclaw/README.md",
        f"{MODULES}/openclaw/skills/weather/SKILL.md",
        f"{MODULES}/openclaw/docs/reference/templates/AGENTS.md",
        f"{MODULES}/openclaw/dist/extensions/some/map.js",
        f"{MODULES}/openclaw/scripts/lib/package-lifecycle-marker.mjs",
        f"{MODULES}/zod/index.js",
        f"{MODULES}/zod/LICENSE.md",
        f"{MODULES}/@img/colour/NOTICE.md",
        f"{MODULES}/@koromix/koffi-linux-x64/linux_x64/koffi.node",
        f"{MODULES}/@lydell/node-pty-linux-x64/prebuilds/linux-x64/pty.node",
    ],
)
def test_what_runs_or_licenses_is_kept(path: str) -> None:
    assert recipe.keep(path, "amd64")


@pytest.mark.parametrize(
    "path",
    [
        "lib/node_modules/npm/docs/content/index.html",
        "lib/node_modules/npm/man/man1/npm.1",
        "lib/node_modules/npm/README.md",
        "lib/node_modules/npm/node_modules/node-gyp/gyp/pylib/__pycache__/input.cpython-311.pyc",
        f"{MODULES}/openclaw/.openclaw-lifecycle-pending",
        f"{MODULES}/openclaw/docs/index.md",
        f"{MODULES}/openclaw/docs/reference/cli.md",
        f"{MODULES}/openclaw/node_modules/chrome-devtools-mcp/README.md",
        f"{MODULES}/openclaw/dist/entry.js.map",
        f"{MODULES}/zod/index.d.ts",
        f"{MODULES}/zod/index.d.cts",
        f"{MODULES}/zod/README.md",
        f"{MODULES}/zod/license-less/README.md",
        f"{MODULES}/@trycua/cua-driver-linux-x64-gnu/libcua_driver_sdk.so",
        f"{MODULES}/@ubjs/core/index.js",
        f"{MODULES}/@koromix/koffi-linux-x64/musl_x64/koffi.node",
        f"{MODULES}/@earendil-works/pi-tui/native/win32/prebuilds/win32-x64/console.node",
        f"{MODULES}/@earendil-works/pi-tui/native/darwin/prebuilds/darwin-arm64/modifiers.node",
        f"{MODULES}/some/prebuilds/linux-arm64/some.node",
        f"{MODULES}/some/prebuilds/linux-x64/some.musl.node",
        f"{MODULES}/some/lib/some.dll",
    ],
)
def test_what_the_guest_never_reads_is_dropped(path: str) -> None:
    assert not recipe.keep(path, "amd64")


def test_prebuilt_binaries_are_kept_for_the_guests_architecture_only() -> None:
    x64, arm64 = (f"{MODULES}/some/prebuilds/linux-{cpu}/some.node" for cpu in ("x64", "arm64"))
    assert (recipe.keep(x64, "amd64"), recipe.keep(arm64, "amd64")) == (True, False)
    assert (recipe.keep(x64, "arm64"), recipe.keep(arm64, "arm64")) == (False, True)


def test_the_key_names_version_and_architecture() -> None:
    assert re.fullmatch(r"openclaw-2026\.9\.6-amd64-[0-9a-f]{10}", recipe.key("2026.9.6", "amd64"))


def test_each_version_and_architecture_has_a_key_of_its_own() -> None:
    versions, arches = ("2026.9.6", "2026.8.1"), ("amd64", "arm64")
    assert len({recipe.key(version, arch) for version in versions for arch in arches}) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_VERSION", "24.20.0"),
        ("NODE_WHEELS", {"amd64": ("manylinux_2_28_x86_64", "0" * 64)}),
        ("_DROP", (r".*\.map",)),
        ("_WARM", (r".*\.js",)),
        ("_LAYOUT", 99),
        ("MTIME", 0),
        ("PROGRAMS", {"openclaw": recipe.ENTRY}),
    ],
)
def test_a_changed_recipe_changes_the_key(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    before = recipe.key(recipe.DEFAULT_VERSION, "amd64")
    monkeypatch.setattr(recipe, name, value)
    assert recipe.key(recipe.DEFAULT_VERSION, "amd64") != before


def test_a_changed_lock_changes_the_key_of_the_default_version_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = recipe.key(recipe.DEFAULT_VERSION, "amd64"), recipe.key("2026.8.1", "amd64")
    (tmp_path / "package-lock.json").write_text("{}")
    monkeypatch.setattr(recipe, "SHIPPED", tmp_path)
    assert recipe.key(recipe.DEFAULT_VERSION, "amd64") != before[0]
    assert recipe.key("2026.8.1", "amd64") == before[1]


def test_the_lock_holds_the_default_version(lock: dict[str, Any]) -> None:
    assert lock["lockfileVersion"] == 3
    assert lock["packages"]["node_modules/openclaw"]["version"] == recipe.DEFAULT_VERSION


def test_every_package_of_the_lock_has_an_integrity_hash(lock: dict[str, Any]) -> None:
    # A bundled package arrives in the archive of another, whose hash covers it.
    bare = [
        path
        for path, package in lock["packages"].items()
        if path
        and not package.get("inBundle")
        and not package.get("integrity", "").startswith("sha512-")
    ]
    assert bare == []


def test_the_lock_names_no_place_to_download_from(lock: dict[str, Any]) -> None:
    assert [path for path, package in lock["packages"].items() if "resolved" in package] == []
    assert "registry" not in json.dumps([list(package) for package in lock["packages"].values()])


@pytest.mark.parametrize("cpu", ["x64", "arm64"])
def test_the_lock_holds_the_native_parts_of_both_architectures(
    lock: dict[str, Any], cpu: str
) -> None:
    for name in (f"@openclaw/fs-safe-linux-{cpu}-gnu", f"@lydell/node-pty-linux-{cpu}"):
        assert f"node_modules/{name}" in lock["packages"]


def test_the_shipped_package_json_is_what_another_version_would_get() -> None:
    shipped = (recipe.SHIPPED / "package.json").read_bytes()
    assert shipped == recipe.package_json(recipe.DEFAULT_VERSION)


def test_the_expected_packages_are_the_guests() -> None:
    lock = {
        "packages": {
            "": {"name": "vclaw-runtime"},
            "node_modules/plain": {},
            "node_modules/dev": {"dev": True},
            "node_modules/x64": {"os": ["linux"], "cpu": ["x64"]},
            "node_modules/arm64": {"os": ["linux"], "cpu": ["arm64"], "libc": ["glibc"]},
            "node_modules/musl": {"os": ["linux"], "cpu": ["arm64"], "libc": ["musl"]},
            "node_modules/mac": {"os": ["darwin"], "cpu": ["arm64"]},
            "node_modules/no-windows": {"os": ["!win32"]},
            "node_modules/no-linux": {"os": ["!linux"]},
            "node_modules/any": {"cpu": ["any"]},
        }
    }
    assert recipe.expected(lock, "arm64") == [
        "node_modules/plain",
        "node_modules/arm64",
        "node_modules/no-windows",
        "node_modules/any",
    ]


@pytest.mark.parametrize("text", ["2026.9.6", "2026.10.12", "2026.9.6-beta.1", "2026.9.6-1"])
def test_releases_have_a_valid_form(text: str) -> None:
    assert recipe.valid_version(text)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026.9", "v2026.9.6", "2026.9.6 ", "2026.9.6;id", "../x", "2026.9.6-"]
)
def test_anything_else_is_no_release(text: str) -> None:
    assert not recipe.valid_version(text)


def test_the_warm_list_begins_with_the_worker_that_has_a_deadline() -> None:
    worker = f"{MODULES}/openclaw/dist/state/openclaw-state-lease-heartbeat.worker.js"
    paths = [
        f"{MODULES}/zod/index.js",
        f"{MODULES}/openclaw/dist/entry.js",
        worker,
        f"{MODULES}/@openclaw/fs-safe/dist/path.js",
    ]
    assert recipe.warm_list(paths) == [
        f"{MODULES}/@openclaw/fs-safe/dist/path.js",
        worker,
        f"{MODULES}/openclaw/dist/entry.js",
        f"{MODULES}/zod/index.js",
    ]


@pytest.mark.parametrize(
    "path",
    [
        f"{MODULES}/openclaw/dist/worker/worker.mjs",
        f"{MODULES}/openclaw/dist/control-ui/assets/index.js",
        f"{MODULES}/typescript/lib/typescript.js",
        f"{MODULES}/zod/LICENSE.md",
    ],
)
def test_what_a_gateway_start_does_not_read_is_not_warmed(path: str) -> None:
    assert recipe.warm_list([path]) == []


def test_programs_start_with_the_disks_own_node() -> None:
    assert recipe.program("npm").decode() == (
        "#!/bin/sh\nexec /opt/openclaw/bin/node "
        '/opt/openclaw/lib/node_modules/npm/bin/npm-cli.js "$@"\n'
    )


def test_npm_installs_for_the_guest_without_scripts() -> None:
    options = recipe.npm_options("arm64")
    for option in ("--ignore-scripts", "--os=linux", "--cpu=arm64", "--libc=glibc"):
        assert option in options


def test_the_gateway_is_told_where_the_disk_holds_the_control_ui() -> None:
    root = openclaw.config(SPEC)["gateway"]["controlUi"]["root"]
    assert recipe.MOUNT_POINT / recipe.CONTROL_UI.parent == PurePosixPath(root)
