"""V8's compile cache on the runtime disk: the gateway's code as a first start has compiled it.

It is filled by one start of the gateway on this host, in a sandbox without network in which the
files lie where the guest has them, for node finds an entry by its file's path. Without it a
claw's first start compiles everything itself; nothing else depends on it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from vclaw import openclaw, proc
from vclaw.errors import VclawError
from vclaw.model import GATEWAY_GUEST_PORT, ClawSpec, ImageRef, host_arch
from vclaw.progress import Progress
from vclaw.runtime import recipe

SCRIPT = Path(__file__).with_name("fill-compile-cache.cjs")

TIMEOUT = 300.0
"""Seconds for one start and stop of the gateway, which take some twenty."""

HOME = "/home/claw"
SCRIPT_IN_SANDBOX = "/tmp/fill.cjs"
FILLED = "/var/cache/openclaw"

SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
"""What node and the programs that the gateway looks for need to run."""

_FOLDER = re.compile(r"(v\d+\.\d+\.\d+-\w+-[0-9a-f]{8})-\d+")
"""Node's name for its folder: its version, architecture, V8's tag, and the user's id."""


def fill(tree: Path, scratch: Path, version: str, arch: str, progress: Progress) -> bool:
    """Fill `tree`'s compile cache; False, and a line said, where this host cannot do it.

    `scratch` is an existing folder for the gateway's state.
    """
    why = _hindrance(arch)
    if not why:
        try:
            _fill(tree, scratch, _claw(version, arch))
        except (VclawError, OSError) as error:
            why = str(error)
    if why:
        progress.say(f"the runtime disk goes without a compile cache: {why}")
    return not why


def _hindrance(arch: str) -> str:
    if arch != host_arch() or not sys.platform.startswith("linux"):
        return f"the guest's {arch} code does not run on this host"
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    return ""


def _claw(version: str, arch: str) -> ClawSpec:
    """A claw whose configuration is that of any other without a model."""
    return ClawSpec(
        name="compile-cache",
        image=ImageRef("debian", "12", arch),
        openclaw_version=version,
        workspace=Path(openclaw.WORKSPACE_DIR),
        cpus=1,
        memory_mib=2048,
        disk_gib=1,
        gateway_port=GATEWAY_GUEST_PORT,
        ssh_port=22,
    )


def _fill(tree: Path, scratch: Path, spec: ClawSpec) -> None:
    state, filled = scratch / "state", scratch / "filled"
    for folder in (state, filled):
        folder.mkdir()
    (state / "openclaw.json").write_text(json.dumps(openclaw.config(spec)))
    bwrap = proc.need("bwrap", "filling the compile cache")
    proc.run(argv(bwrap, tree, state, filled), timeout=TIMEOUT, what="filling the compile cache")
    for folder in filled.iterdir():
        name = _FOLDER.fullmatch(folder.name)
        if name is None:
            raise VclawError(f"node named its compile cache {folder.name}.", "")
        _take(folder, tree / recipe.COMPILE_CACHE / name[1])


def argv(bwrap: Path, tree: Path, state: Path, filled: Path) -> list[str]:
    """bubblewrap's command line: the gateway in the guest's folders, nothing else of this host."""
    words = [str(bwrap), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--cap-drop", "ALL"]
    for name, value in environment().items():
        words += ["--setenv", name, value]
    for path in SYSTEM:
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    words += ["--dir", HOME, "--dir", openclaw.WORKSPACE_DIR]
    words += ["--ro-bind", str(tree), str(recipe.MOUNT_POINT)]
    words += ["--bind", str(state), openclaw.STATE_DIR, "--bind", str(filled), FILLED]
    words += ["--ro-bind", str(SCRIPT), SCRIPT_IN_SANDBOX]
    words += ["--chdir", openclaw.WORKSPACE_DIR, "--"]
    node, entry = recipe.MOUNT_POINT / recipe.NODE, recipe.MOUNT_POINT / recipe.ENTRY
    return [*words, str(node), SCRIPT_IN_SANDBOX, str(entry), str(GATEWAY_GUEST_PORT), FILLED]


def environment() -> dict[str, str]:
    """The gateway's, as vclaw/guest/apply.py sets it; the token is of this one start."""
    return {
        "HOME": HOME,
        "PATH": f"{recipe.MOUNT_POINT}/bin:/usr/bin:/bin",
        "OPENCLAW_CONFIG_PATH": f"{openclaw.STATE_DIR}/openclaw.json",
        "OPENCLAW_STATE_DIR": openclaw.STATE_DIR,
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED": "1",
        "OPENCLAW_GATEWAY_TOKEN": "of-no-claw",
    }


def _take(source: Path, target: Path) -> None:
    """Move node's cache files, with the modes of the rest of the disk."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        file.chmod(0o644)
        shutil.move(file, target / file.name)
    for folder in (target, target.parent):
        folder.chmod(0o755)
