"""What is fit and what is not on this host: facts in, a checklist with hints out; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vclaw.hypervisor.machine import Accelerator
from vclaw.model import GATEWAY_GUEST_PORT

OK, WARN, FAIL = "ok", "warn", "fail"

MEMORY_LEAST_MIB = 2048
MEMORY_MIB = 4096
"""What the smallest claw needs, and what one gets by default."""

DISK_LEAST_MIB = 2048
DISK_MIB = 8192
"""A claw's disk, image and runtime take about 2 GiB; building them needs room beside them."""

QEMU_OLDEST = (7, 2)
"""Debian 12's; no older one was tried."""


@dataclass(frozen=True)
class Tool:
    """One program and the stage that needs it; `path` is "" and `hint` set where it is missing."""

    program: str
    stage: str
    path: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Claw:
    """What `vclaw ps` says of a claw, and whether its workspace is there."""

    name: str
    status: str
    problem: str = ""
    workspace_gone: str = ""  # the workspace's path, where there is nothing


@dataclass(frozen=True)
class Facts:
    """All that was found out about this host; sizes in MiB."""

    system: str
    arch: str
    cpus: int
    memory_mib: int
    memory_available_mib: int
    folders: Sequence[tuple[str, int, str]]  # path, free MiB, why it cannot be written or ""
    qemu: str  # what it says of its version, "" where it is missing
    qemu_hint: str = ""
    accelerator: Accelerator | None = None
    accelerator_problem: str = ""
    wall_problem: tuple[str, str] = ("", "")  # what is missing for the wall, and a hint
    wall_off: bool = False  # VCLAW_NETWORK says that claws run without it
    tools: Sequence[Tool] = ()
    port_holder: str | None = None  # of the default port: None free, "" a foreign program, a claw
    next_port: int = 0
    server: str = ""
    server_problem: str = ""
    cached_images: Sequence[str] = ()
    runtime_cached: bool = False  # the default OpenClaw release's
    damage: Sequence[tuple[str, str]] = ()  # what is damaged in the cache, and how to mend it
    deep: bool = False  # whether digests were compared
    claws: Sequence[Claw] = field(default_factory=tuple)


@dataclass(frozen=True)
class Finding:
    """One line of the checklist: `level` is ok, warn or fail; `hint` says what to do."""

    name: str
    level: str
    found: str
    hint: str = ""


def checklist(facts: Facts) -> list[Finding]:
    """Everything that was looked at, the hypervisor first."""
    found: list[Finding] = []
    for look in LOOKS:
        found += look(facts)
    return found


def fit(findings: Sequence[Finding]) -> bool:
    """Whether nothing failed; a warning costs time or comfort, and no more."""
    return all(finding.level != FAIL for finding in findings)


def qemu_version(text: str) -> tuple[int, int] | None:
    """(major, minor) in what `qemu-system-… --version` prints."""
    match = re.search(r"version (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _qemu(facts: Facts) -> list[Finding]:
    if not facts.qemu:
        return [Finding("qemu", FAIL, "is missing or does not run", facts.qemu_hint)]
    version = qemu_version(facts.qemu)
    if version is not None and version < QEMU_OLDEST:
        oldest = ".".join(map(str, QEMU_OLDEST))
        return [Finding("qemu", WARN, facts.qemu, f"QEMU {oldest} is the oldest that was tried.")]
    return [Finding("qemu", OK, facts.qemu)]


def _accelerator(facts: Facts) -> list[Finding]:
    if facts.accelerator_problem:
        return [Finding("accelerator", FAIL, facts.accelerator_problem)]
    if facts.accelerator is None:
        return [Finding("accelerator", WARN, "was not tried, since there is no QEMU")]
    name = facts.accelerator.name
    if name != "tcg":
        return [Finding("accelerator", OK, f"{name} works")]
    return [Finding("accelerator", WARN, "emulation (TCG)", facts.accelerator.reason)]


def _wall(facts: Facts) -> list[Finding]:
    problem, hint = facts.wall_problem
    if not problem:
        return [Finding("wall", OK, "the host can be closed to the guest")]
    return [Finding("wall", WARN if facts.wall_off else FAIL, problem, hint)]


def _processor(facts: Facts) -> list[Finding]:
    found = f"{facts.system}, {facts.arch}, {facts.cpus} processors"
    if facts.arch in ("amd64", "arm64"):
        return [Finding("processor", OK, found)]
    return [Finding("processor", FAIL, found, "vclaw has images for amd64 and arm64.")]


def _memory(facts: Facts) -> list[Finding]:
    free = facts.memory_available_mib
    found = f"{free} of {facts.memory_mib} MiB available"
    if free < MEMORY_LEAST_MIB:
        hint = f"A claw needs at least {MEMORY_LEAST_MIB} MiB: end other programs or claws."
        return [Finding("memory", FAIL, found, hint)]
    if free < MEMORY_MIB:
        hint = f"A claw may use {MEMORY_MIB} MiB by default; give it less with --memory-mib."
        return [Finding("memory", WARN, found, hint)]
    return [Finding("memory", OK, found)]


def _disk(facts: Facts) -> list[Finding]:
    findings = []
    for path, free, problem in facts.folders:
        name = f"disk {path}"
        if problem:
            hint = "Make it writable, or set VCLAW_HOME, VCLAW_CACHE_DIR or VCLAW_DATA_DIR."
            findings.append(Finding(name, FAIL, f"cannot be written: {problem}", hint))
            continue
        hint = "`vclaw prune` frees what no claw uses; VCLAW_HOME names a larger disk."
        level = FAIL if free < DISK_LEAST_MIB else WARN if free < DISK_MIB else OK
        findings.append(Finding(name, level, f"{free} MiB free", "" if level == OK else hint))
    return findings


def _tools(facts: Facts) -> list[Finding]:
    """Stage by stage; whether a missing one fails depends on what can be done without it."""
    findings = []
    for stage in dict.fromkeys(tool.stage for tool in facts.tools):
        tools = [tool for tool in facts.tools if tool.stage == stage]
        missing = [tool for tool in tools if not tool.path]
        if not missing:
            names = ", ".join(tool.program for tool in tools)
            findings.append(Finding(f"tools: {stage}", OK, names))
            continue
        names = ", ".join(tool.program for tool in missing)
        hints = " ".join(dict.fromkeys(tool.hint for tool in missing))
        level = FAIL if _needed(stage, facts) else WARN
        findings.append(Finding(f"tools: {stage}", level, f"missing: {names}", hints))
    return findings


def _needed(stage: str, facts: Facts) -> bool:
    """Whether no claw can be made where a tool of this stage is missing."""
    if stage == "runtime":
        return not facts.runtime_cached
    return stage in ("seed", "boot")


def _complete(facts: Facts, stage: str) -> bool:
    return all(tool.path for tool in facts.tools if tool.stage == stage)


def _server(facts: Facts) -> list[Finding]:
    if not facts.server_problem:
        return [Finding("image server", OK, f"{facts.server} answers")]
    found = f"{facts.server} does not answer: {facts.server_problem}"
    hint = "Check the network and HTTPS_PROXY, or set VCLAW_UBUNTU_URL to a mirror."
    return [Finding("image server", WARN, found, hint)]


def _image(facts: Facts) -> list[Finding]:
    """Whether any image can be had: cached, downloaded or built."""
    ways = []
    if facts.cached_images:
        ways.append(f"cached: {', '.join(facts.cached_images)}")
    if not facts.server_problem and _complete(facts, "ubuntu images"):
        ways.append("Ubuntu's can be downloaded")
    if _complete(facts, "debian images"):
        ways.append("Debian's can be built")
    if ways:
        return [Finding("image", OK, "; ".join(ways))]
    hint = "Mend the image server's address or the tools of Debian images, or run a local file."
    return [Finding("image", FAIL, "none is cached, and none can be had", hint)]


def _port(facts: Facts) -> list[Finding]:
    name = f"port {GATEWAY_GUEST_PORT}"
    if facts.port_holder is None:
        return [Finding(name, OK, "free")]
    if facts.port_holder:
        return [Finding(name, OK, f"used by the claw {facts.port_holder}")]
    hint = f"A new claw's gateway gets port {facts.next_port}, the next free one."
    return [Finding(name, WARN, "taken by another program", hint)]


def _cache(facts: Facts) -> list[Finding]:
    if facts.damage:
        return [Finding("cache", FAIL, what, hint) for what, hint in facts.damage]
    how = "digests are right" if facts.deep else "files are whole by their size"
    hint = "" if facts.deep else "`vclaw doctor --deep` compares digests too."
    return [Finding("cache", OK, how, hint)]


def _claws(facts: Facts) -> list[Finding]:
    findings = []
    for claw in facts.claws:
        level = {"broken": FAIL, "exited": WARN, "unhealthy": WARN}.get(claw.status, OK)
        if level != OK:
            found = f"{claw.status}: {claw.problem}" if claw.problem else claw.status
            hint = f"{_next_step(claw)}`vclaw rm {claw.name}` removes it."
            findings.append(Finding(f"claw {claw.name}", level, found, hint))
        if claw.workspace_gone:
            found = f"its workspace {claw.workspace_gone} is gone"
            hint = f"Put it back, or `vclaw rm {claw.name}`."
            findings.append(Finding(f"claw {claw.name}", WARN, found, hint))
    count = f"{len(facts.claws)} {'claw' if len(facts.claws) == 1 else 'claws'}, none stale"
    return findings or [Finding("claws", OK, count)]


def _next_step(claw: Claw) -> str:
    steps = {
        "exited": f"`vclaw start {claw.name}` boots it again; ",
        "unhealthy": f"`vclaw inspect {claw.name}` shows the check that does not hold; ",
    }
    return steps.get(claw.status, "")


LOOKS: tuple[Callable[[Facts], list[Finding]], ...] = (
    _processor,
    _qemu,
    _accelerator,
    _wall,
    _memory,
    _disk,
    _tools,
    _server,
    _image,
    _port,
    _cache,
    _claws,
)
"""The checklist's parts in their order."""
