"""The compile cache of the runtime disk, with a small server in place of OpenClaw."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from vclaw.model import host_arch
from vclaw.progress import Progress, Silent
from vclaw.runtime import compile_cache, npm, recipe

SERVER = """
import { createServer } from 'node:http';
import './part.mjs';
createServer((request, response) => response.writeHead(200).end()).listen(18789, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
"""

needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None or not sys.platform.startswith("linux"),
    reason="needs bubblewrap",
)


class Said(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in (recipe.NODE, recipe.ENTRY):
        (tree / name).parent.mkdir(parents=True)
    shutil.copy(npm.host_root() / recipe.NODE, tree / recipe.NODE)
    (tree / recipe.ENTRY).write_text(SERVER)
    (tree / recipe.ENTRY).with_name("part.mjs").write_text("export const part = 1;\n")
    return tree


def fill(tree: Path, progress: Progress, arch: str | None = None) -> bool:
    scratch = tree.parent / "scratch"
    scratch.mkdir()
    return compile_cache.fill(tree, scratch, recipe.DEFAULT_VERSION, arch or host_arch(), progress)


@needs_sandbox
def test_a_start_of_the_gateway_fills_the_cache(tree: Path) -> None:
    said = Said()
    assert fill(tree, said), said.lines
    [folder] = (tree / recipe.COMPILE_CACHE).iterdir()
    assert folder.name.startswith(f"v{recipe.NODE_VERSION}-")
    files = list(folder.iterdir())
    assert len(files) >= 2  # of the server and of its part
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}
    # The guest's user has another id than who builds: the name says nothing of it.
    assert len(folder.name.split("-")) == 3


@needs_sandbox
@pytest.mark.parametrize("server", ["process.exit(3);", "process.exit(0);"])
def test_a_gateway_that_does_not_get_ready_leaves_the_disk_without_a_cache(
    tree: Path, server: str
) -> None:
    (tree / recipe.ENTRY).write_text(server)
    said = Said()
    assert not fill(tree, said)
    assert not (tree / recipe.COMPILE_CACHE).exists()
    assert "without a compile cache" in said.lines[0]


def test_code_of_another_architecture_is_not_run(tmp_path: Path) -> None:
    other = {"amd64": "arm64", "arm64": "amd64"}[host_arch()]
    said = Said()
    assert not fill(tmp_path / "tree", said, other)
    assert f"{other} code does not run" in said.lines[0]


def test_a_host_without_bubblewrap_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    said = Said()
    assert not fill(tmp_path / "tree", said)
    assert "bubblewrap" in said.lines[0]


def test_the_sandbox_has_no_network_and_the_guests_folders() -> None:
    words = compile_cache.argv(Path("/usr/bin/bwrap"), Path("/t"), Path("/s"), Path("/f"))
    line = " ".join(words)
    assert "--unshare-all" in words
    assert "--share-net" not in words
    assert "--cap-drop ALL" in line
    assert "--ro-bind /t /opt/openclaw" in line
    assert "--bind /s /var/lib/openclaw" in line
    assert words[words.index("--") + 1] == "/opt/openclaw/bin/node"
