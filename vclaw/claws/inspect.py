"""Everything that is known of one claw, as one JSON object without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from vclaw import __version__, boot, disk, fsutil, identity, readiness, runtime, timeline
from vclaw.claws import record, saved, status
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.images import meta as image_meta
from vclaw.model import GATEWAY_GUEST_PORT, ClawSpec
from vclaw.paths import ClawPaths

T = TypeVar("T")

ANSWER_SECONDS = 1.0
"""What a guest gets to answer."""

SSH_GUEST_PORT = 22

PATHS = (
    "root",
    "state",
    "disk",
    "seed",
    "serial_log",
    "hypervisor_log",
    "serial_socket",
    "qmp",
    "channel",
    "ssh_key",
    "known_hosts",
)
"""Which of `ClawPaths` are shown."""


def look(home: Home, paths: ClawPaths) -> dict[str, Any]:
    """Ask files, process, guest and gateway; what cannot be read becomes one of `problems`.

    Keys in their order: clawid, vclaw, status, reason, updated, spec, gateway, ports, secrets,
    paths, process, machine, image, disk, saved, runtime, checks, guest_steps, stages, problems.
    A part that is not there is null; sizes are in bytes, times in seconds.
    """
    problems: list[str] = []
    now = status.of(paths)
    spec = _part(problems, lambda: record.load(paths))
    who = _part(problems, lambda: identity.load(paths))
    known = timeline.load(paths)
    return {
        "clawid": paths.root.name,
        "vclaw": __version__,
        "status": now.status,
        "reason": now.last_error,
        "updated": now.updated,
        "spec": None if spec is None else spec_facts(spec),
        "gateway": now.gateway,
        "ports": [] if spec is None else port_facts(spec),
        "secrets": None if who is None else secret_facts(who),
        "paths": path_facts(paths, spec),
        "process": _process(paths),
        "machine": _part(problems, lambda: fsutil.read_json(paths.machine)),
        "image": _part(problems, lambda: _image(home, spec)),
        "disk": _part(problems, lambda: _disk(paths)),
        "saved": _part(problems, lambda: _saved(paths)),
        "runtime": _part(problems, lambda: _runtime(home, spec)),
        "checks": _checks(paths, spec, now.status),
        "guest_steps": [] if known is None else step_facts(known.steps),
        "stages": [] if known is None else stage_facts(known),
        "problems": list(dict.fromkeys(problems)),
    }


def spec_facts(spec: ClawSpec) -> dict[str, Any]:
    """What was asked for, with the image's name as the user types it."""
    value = record.to_json(spec)
    ref = value.pop("image")
    del value["schema"], value["publish"], value["gateway_port"], value["ssh_port"]
    return {"image": spec.image.name, "arch": ref["arch"], **value}


def path_facts(paths: ClawPaths, spec: ClawSpec | None) -> dict[str, str]:
    """Where the claw's files are, by their names in `ClawPaths`."""
    facts = {name: str(getattr(paths, name)) for name in PATHS}
    return facts if spec is None else {**facts, "state": str(paths.state_of(spec))}


def port_facts(spec: ClawSpec) -> list[dict[str, Any]]:
    """Every forward with what it is for."""
    uses = {GATEWAY_GUEST_PORT: "gateway", SSH_GUEST_PORT: "ssh"}
    own = len(spec.forwards) - len(spec.publish)
    return [
        {
            "use": uses.get(item.guest, "") if number < own else "published",
            "host": f"127.0.0.1:{item.host}",
            "guest": item.guest,
        }
        for number, item in enumerate(spec.forwards)
    ]


def secret_facts(who: identity.Identity) -> dict[str, Any]:
    """Which secrets there are, each masked; public keys are shown."""
    return {
        "token": identity.MASK,
        "env": dict.fromkeys(sorted(who.env), identity.MASK),
        "host_key": who.host_public.strip(),
        "client_key": who.client_public.strip(),
    }


def check_facts(
    held: Mapping[str, bool | None], passed: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each readiness check: whether it holds now (null: not asked), when it first did, a hint."""
    return [
        {
            "name": check.name,
            "done": check.done,
            "holds": held.get(check.name),
            "seconds": passed.get(check.name),
            "hint": check.hint,
        }
        for check in readiness.CHECKS
    ]


def step_facts(steps: Iterable[timeline.Stage]) -> list[dict[str, Any]]:
    """The guest's own steps, in seconds of its uptime."""
    return [{"name": step.name, "start": step.start, "end": step.end} for step in steps]


def stage_facts(known: timeline.Record) -> list[dict[str, Any]]:
    """How long each stage of the last boot took."""
    return [
        {"name": stage.name, "seconds": round(stage.seconds, 3), "outcome": stage.outcome}
        for stage in known.stages
    ]


def _part(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except FileNotFoundError:
        return None
    except VclawError as error:
        problems.append(error.message)
    except (OSError, KeyError, TypeError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    return None


def _process(paths: ClawPaths) -> dict[str, Any] | None:
    process = boot.unrecorded(paths) or boot.last(paths)
    return None if process is None else {"alive": process.alive, **process.to_json()}


def _image(home: Home, spec: ClawSpec | None) -> dict[str, Any] | None:
    """image.json of the cache; a claw that has its disk does not need it any more."""
    if spec is None:
        return None
    meta = image_meta.load(home.image(spec.image).meta)
    return None if meta is None else {"path": str(home.image(spec.image).image), **asdict(meta)}


def _disk(paths: ClawPaths) -> dict[str, Any] | None:
    meta = disk.load(paths.disk_meta)
    if meta is None:
        return None
    return {**asdict(meta), "disk_bytes": paths.disk.stat().st_blocks * 512}


def _saved(paths: ClawPaths) -> dict[str, Any] | None:
    """Its memory on the disk, and whose guest it is, where it is suspended to that."""
    known = saved.load(paths)
    if known is None:
        return None
    size = paths.memory.stat().st_blocks * 512
    return {"path": str(paths.memory), "at": known.at, "of": known.of, "disk_bytes": size}


def _runtime(home: Home, spec: ClawSpec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    paths = home.runtime(runtime.key(spec.openclaw_version, spec.image.arch))
    manifest = runtime.load(paths.manifest)
    if manifest is None:
        return None
    facts = asdict(manifest)
    del facts["lock"]  # thousands of lines; manifest.json holds them
    return {"path": str(paths.disk), **facts}


def _checks(paths: ClawPaths, spec: ClawSpec | None, state: str) -> list[dict[str, Any]]:
    known = timeline.load(paths)
    passed = {} if known is None else known.passed
    process = boot.current(paths)
    if process is None or spec is None:
        return check_facts({"process alive": process is not None}, passed)
    if state == "suspended":
        return check_facts({"process alive": True}, passed)
    report = readiness.guest_report(paths, ANSWER_SECONDS)
    try:
        generation = str(fsutil.read_json(paths.guest)["generation"])
    except (OSError, VclawError, KeyError):
        generation = ""
    seen = readiness.Observation(True, report, generation, spec.gateway_port)
    held = {check.name: check.passed(seen) for check in readiness.CHECKS}
    return check_facts(held, passed)
