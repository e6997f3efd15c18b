"""What a glance at the claws needs of `paths`, as plain strings.

`vclaw ps` has the time of two empty interpreters, and pathlib alone takes a third of one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

INSTANCES = "instances"
TEMPLATES = "templates"
SPEC = "claw.json"
RUN = "run.json"
READY = "ready.json"
SUSPENDED = "suspended.json"
SAVED = "saved.json"
LAST_ERROR = "error.json"
SOCKETS = "run"
SSH_KEY = "ssh_key"
KNOWN_HOSTS = "known_hosts"
SSH_CONTROL = "ssh"
SSH_LOCK = "ssh.lock"
STATUS_SOCKET = f"{SOCKETS}/status.sock"

SCRATCH = ".building"
"""How the folder ends in which a runtime disk or a template is built; it begins with a dot."""

MARKS = (SPEC, RUN, READY, LAST_ERROR, SUSPENDED, SAVED)
"""The files of a claw whose changes mark its life."""


class SshFiles:
    """What ssh needs of the claw in `folder`, under the names that `paths.ClawPaths` has for it."""

    def __init__(self, folder: str) -> None:
        self.ssh_key = f"{folder}/{SSH_KEY}"
        self.known_hosts = f"{folder}/{KNOWN_HOSTS}"
        self.ssh_control = f"{folder}/{SSH_CONTROL}"
        self.ssh_lock = f"{folder}/{SSH_LOCK}"


def cache_folder(env: Mapping[str, str] = os.environ) -> str:
    """Where images and runtimes are: VCLAW_CACHE_DIR, VCLAW_HOME or ~/.vclaw, absolute."""
    return absolute(env.get("VCLAW_CACHE_DIR") or _base(env))


def data_folder(env: Mapping[str, str] = os.environ) -> str:
    """Where claws are: VCLAW_DATA_DIR, VCLAW_HOME or ~/.vclaw, absolute."""
    return absolute(env.get("VCLAW_DATA_DIR") or _base(env))


def _base(env: Mapping[str, str]) -> str:
    return env.get("VCLAW_HOME") or "~/.vclaw"


def absolute(path: str) -> str:
    """A path as a user writes it, with `~` for the home; pathlib raises for an unknown user's."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - keeps symlinks
