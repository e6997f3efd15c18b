"""The NoCloud seed: what the guest is told, rendered in memory, the ISO written last.

Formats: cloud-init's NoCloud data source (volume label `cidata`, files `user-data`,
`meta-data`, `network-config`) and its cloud-config schema. cloud-init does one job at the first
boot: it installs the unit that applies /vclaw on this disk at every boot.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vclaw import crashpoints, fsutil, llm, openclaw
from vclaw.identity import Identity
from vclaw.model import ClawSpec

SIZE_STEP = 4 * 2**20
"""The seed disk's size in bytes is a multiple of it; a hole fills the rest."""

SEED_UNIT = "vclaw-seed.service"
GUEST_FILES = (
    "agent.py",
    "apply.py",
    "holders.py",
    "warm.sh",
    "openclaw.service",
    "openclaw.sh",
    "patience.cjs",
    "vclaw-agent.service",
    SEED_UNIT,
)
"""Files of vclaw/guest that go to /vclaw on the seed."""


def guest_settings(
    spec: ClawSpec, identity: Identity, *, owner: tuple[int, int], emulated: bool, ca: str
) -> dict[str, Any]:
    """All that the guest is told, as guest.json holds it.

    `owner` is the uid and gid that files in the workspace shall have, `ca` extra certificates
    in PEM or "". `generation` changes with any setting: the guest reports the one it applied.
    """
    settings: dict[str, Any] = {
        "schema": 1,
        "hostname": spec.name,
        "uid": owner[0],
        "gid": owner[1],
        "emulated": emulated,
        "token": identity.token,
        "env": dict(identity.env),
        "placeholders": llm.placeholders(spec.model, spec.model_base_url),
        "openclaw": openclaw.config(spec),
        "shares": [
            {"tag": "state", "path": openclaw.STATE_DIR, "readonly": False},
            {
                "tag": "workspace",
                "path": openclaw.WORKSPACE_DIR,
                "readonly": spec.read_only_workspace,
            },
        ],
        "ssh": {
            "host_private": identity.host_private,
            "host_public": identity.host_public,
            "authorized": identity.client_public,
        },
        "ca": ca,
    }
    if identity.machine_id:
        settings["machine_id"] = identity.machine_id
    return _numbered(settings)


def template_settings(*, owner: tuple[int, int], emulated: bool) -> dict[str, Any]:
    """What a guest is told that is kept as a template: nothing of any claw's."""
    settings = {
        "schema": 1,
        "template": True,
        "hostname": "vclaw",
        "uid": owner[0],
        "gid": owner[1],
        "emulated": emulated,
    }
    return _numbered(settings)


def with_env(guest: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """`guest_settings` with other variables, and the generation that they give it; pure."""
    settings = {key: value for key, value in guest.items() if key != "generation"}
    return _numbered({**settings, "env": dict(env)})


def _numbered(settings: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    return {**settings, "generation": digest.hexdigest()[:16]}


def render(guest: Mapping[str, Any]) -> dict[str, bytes]:
    """The seed's files by their path on the disk; pure, apart from reading vclaw's own files."""
    files = {
        "user-data": b"#cloud-config\n" + _yaml(_user_data()),
        # The id never changes: cloud-init must not take the same disk for a new machine.
        "meta-data": _yaml(
            {"instance-id": f"vclaw-{guest['hostname']}", "local-hostname": guest["hostname"]}
        ),
        "network-config": _yaml(
            {
                "version": 2,
                "ethernets": {"primary": {"match": {"name": "e*"}, "dhcp4": True, "dhcp6": False}},
            }
        ),
        "vclaw/guest.json": fsutil.json_bytes(guest),
    }
    files.update({f"vclaw/{name}": guest_file(name) for name in GUEST_FILES})
    return files


def guest_file_paths() -> list[Path]:
    """The guest's files as they are installed with vclaw."""
    return [guest_file_path(name) for name in GUEST_FILES]


def guest_file_path(name: str) -> Path:
    """A file of vclaw/guest."""
    return Path(__file__).with_name("guest") / name


def guest_file(name: str) -> bytes:
    """The content of a file of vclaw/guest."""
    return guest_file_path(name).read_bytes()


def _user_data() -> dict[str, Any]:
    return {
        # Nothing but these: keys, users and packages are not cloud-init's here, and under
        # emulation its certificate and key modules alone take a minute.
        "cloud_init_modules": ["growpart", "resizefs", "write-files", "bootcmd"],
        "cloud_config_modules": [],
        "cloud_final_modules": [],
        "write_files": [
            {
                "path": f"/etc/systemd/system/{SEED_UNIT}",
                "content": guest_file(SEED_UNIT).decode(),
                "permissions": "0644",
            }
        ],
        "bootcmd": [
            ["systemctl", "enable", SEED_UNIT],
            ["systemctl", "start", "--no-block", SEED_UNIT],
            # Its one job is done: later boots go without it.
            ["touch", "/etc/cloud/cloud-init.disabled"],
        ],
    }


def _yaml(value: object) -> bytes:
    import yaml

    return bytes(yaml.safe_dump(value, sort_keys=False, encoding="utf-8"))


def write_iso(files: Mapping[str, bytes], target: Path) -> None:
    """Write `files` as an ISO 9660 image (Joliet and Rock Ridge) labelled `cidata`, mode 0600."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    folders: set[str] = set()
    for number, (path, data) in enumerate(files.items()):
        folder, _, name = path.rpartition("/")
        if folder and folder not in folders:
            folders.add(folder)
            iso.add_directory(f"/{folder.upper()}", rr_name=folder, joliet_path=f"/{folder}")
        # ISO 9660 names are for old readers only; Linux reads the Rock Ridge name.
        plain = f"{'/' + folder.upper() if folder else ''}/F{number:06}.;1"
        iso.add_fp(io.BytesIO(data), len(data), plain, rr_name=name, joliet_path=f"/{path}")
    with fsutil.replacing(target, mode=0o600) as temporary:
        iso.write(str(temporary))
        # A guest that goes on from a saved one takes the disk to be as large as it was then.
        size = temporary.stat().st_size
        os.truncate(temporary, -(-size // SIZE_STEP) * SIZE_STEP)
    iso.close()


def build(guest_json: Path, target: Path) -> None:
    """The seed stage: guest.json in, seed.iso out, unless the seed says that already.

    The digest of what it says is kept beside it, as seed.iso.sha256.
    """
    files = render(fsutil.read_json(guest_json))
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest().encode()
    mark = target.with_name(target.name + ".sha256")
    if target.exists() and mark.exists() and mark.read_bytes() == digest:
        return
    mark.unlink(missing_ok=True)
    crashpoints.reach("seed.unmarked")
    write_iso(files, target)
    crashpoints.reach("seed.written")
    fsutil.write_atomic(mark, digest)
