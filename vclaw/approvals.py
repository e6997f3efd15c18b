"""Which reach into the host the user has approved for a project's file.

The guest can write vclaw.yaml, and whoever sends the user a project has written it. So what
such a file asks for is used without a question only where it stays within the guest:

- `name` (a claw of another workspace is refused anyway), `ready-timeout-secs`, `no-wait`,
  `read-only-workspace`;
- `cpus`, `memory-mib` and `disk-gib` up to the defaults;
- `network` where it is none;
- `image` where it is one of the supported releases;
- `workspace` where it is the project's folder or lies in it.

Everything else, keys that later versions add included, reaches further and has to be approved
once: other folders, ports of the host, variables (those of the host, and values that could lead
the user's keys elsewhere), files, the model (which provider reads the project, and who pays) and
its server (which gets the key), and whatever code the host would fetch.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import config, fsutil, schema, variables
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.lock import locked
from vclaw.model import NONE
from vclaw.project_file import ProjectFile, read_text

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older approvals.json up to date; see `vclaw.schema`."""

HINT = "Remove it, and approve your projects' files again."

HARMLESS = frozenset({"name", "ready-timeout-secs", "no-wait", "read-only-workspace"})

LIMITS = {
    "cpus": config.CPUS_MOST,
    "memory-mib": config.MEMORY_MIB,
    "disk-gib": config.DISK_GIB,
}
"""What the host gives without a question."""

SENTENCES = {
    "workspace": "give the guest the folder {}",
    "port": "take port {} of this host for the gateway",
    "publish": "publish a port of the guest on this host: {}",
    "network": "let the guest's network be {}",
    "allow-host-port": "let the guest reach port {} of this host's loopback",
    "image": "boot the disk image {}",
    "openclaw-version": "fetch and install OpenClaw {}",
    "env-file": "give the guest the variables in {}",
    "ca-cert": "give the guest the certificates in {}",
    "model": "let the agent use the model {}",
    "model-base-url": "send what the agent reads, and the provider's key, to {}",
    "state": "give the guest OpenClaw's state in {}",
    "cpus": "use {} processors",
    "memory-mib": "use {} MiB of memory",
    "disk-gib": "use up to {} GiB of disk",
}

Reach = frozenset[tuple[str, str]]
"""Pairs of (key, value). A variable is ("env", KEY) where the host's value is taken, and
("env", KEY=digest) where the project gives one."""


@dataclass(frozen=True)
class Variable:
    """A line of `env` or of an env-file: KEY=VALUE, or KEY for the host's value."""

    where: str
    text: str
    path: Path  # the file that says it


def variables_of(file: ProjectFile) -> list[Variable]:
    """What the file's env-file and env say, in the order in which later ones win.

    The files are read here, once: what is approved is then what is used. Raises UsageError.
    """
    found = []
    for item in file.entries.get("env-file", ()):
        path = Path(item.text)
        try:
            text = read_text(path)
        except FileNotFoundError:
            raise UsageError(
                f"{file.path}, line {item.line}: the environment file {path} does not exist.",
                "Make it, or remove the line.",
            ) from None
        found += [
            Variable(where, line, path) for where, line in variables.lines_of(str(path), text)
        ]
    found += [
        Variable(f"{file.path}, line {item.line}:", item.text, file.path)
        for item in file.entries.get("env", ())
    ]
    for variable in found:
        variables.split(variable.where, variable.text)
    return found


def reach(file: ProjectFile, given: Iterable[Variable]) -> Reach:
    """What the file asks of the host beyond what needs no approval; pure."""
    found = {
        (key, item.text)
        for key, items in file.entries.items()
        for item in items
        if key not in ("env", "env-file") and not item.off and not _within(file, key, item.text)
    }
    shared = [file.folder, *(Path(item.text) for item in file.entries.get("workspace", ()))]
    for variable in given:
        key, equals, value = variable.text.partition("=")
        if not any(variable.path.is_relative_to(folder) for folder in shared):
            found.add(("env-file", str(variable.path)))  # the user's own file, whatever it says
        elif equals:
            found.add(("env", f"{key}={hashlib.sha256(value.encode()).hexdigest()[:16]}"))
        else:
            found.add(("env", key))
    return frozenset(found)


def _within(file: ProjectFile, key: str, text: str) -> bool:
    """Whether a value stays within the guest; a key that is not known here does not."""
    if key in LIMITS:
        return int(text) <= LIMITS[key]
    if key == "network":
        return text == NONE
    if key == "workspace":
        return Path(text).is_relative_to(file.folder)
    if key == "image":
        from vclaw.images import catalogue

        distro, _, version = text.partition("@")[0].partition(":")
        return catalogue.release(distro, version) is not None
    return key in HARMLESS


def need_approval(old: Reach, new: Reach) -> list[str]:
    """One sentence's part for each thing that `new` asks for beyond `old`; pure."""
    return [describe(key, value) for key, value in sorted(new) if not _covered(old, key, value)]


def _covered(old: Reach, key: str, value: str) -> bool:
    if key in LIMITS:
        return any(int(before) >= int(value) for name, before in old if name == key)
    return (key, value) in old


def describe(key: str, value: str) -> str:
    """What a file would do, in words: `publish a port of the guest on this host: 8080:80`."""
    if not value.isprintable():
        value = repr(value)
    if key == "env":
        name, equals, _ = value.partition("=")
        if equals:
            return f"set the variable {name} in the guest"
        return f"give the guest this host's variable {name}"
    return SENTENCES.get(key, key + ": {}").format(value)


def approved(home: Home, file: ProjectFile) -> Reach:
    """What was approved last for this file; empty where nothing was. Raises VclawError."""
    entry = _load(home).get(str(file.path), {})
    try:
        return frozenset((str(key), str(value)) for key, value in entry.get("reach", ()))
    except (AttributeError, TypeError, ValueError):
        raise _damaged(home) from None


def approve(home: Home, file: ProjectFile, wanted: Reach) -> None:
    """Remember that this file, as it is now, may reach as far as `wanted`."""
    fsutil.make_folder(home.data, 0o700)
    with locked(home.approvals.with_suffix(".lock"), 5.0):
        files = _load(home)
        files[str(file.path)] = {
            "digest": file.digest,
            "approved_at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "reach": sorted(wanted),
        }
        value = {"schema": schema.version(STEPS), "files": files}
        fsutil.write_json(home.approvals, value, 0o600)


def _load(home: Home) -> dict[str, Any]:
    try:
        files = schema.read(home.approvals, STEPS, HINT).get("files")
    except FileNotFoundError:
        return {}
    if not isinstance(files, dict):
        raise _damaged(home)
    return files


def _damaged(home: Home) -> VclawError:
    return schema.damaged(home.approvals, "its files are no table", HINT)
