"""What a booted guest's own tools say of its start, as parts with their times; pure.

All times are seconds of the guest's monotonic clock, which begins with its kernel. Formats:
systemd-analyze(1), `systemctl show` (times in microseconds), cloud-init's log, and journalctl's
`short-monotonic`.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

GATEWAY_UNIT = "openclaw.service"

MILESTONES = (
    ("loading configuration", "node and the command line"),
    ("resolving authentication", "configuration"),
    ("starting...", "authentication"),
    ("starting HTTP server", "state and workers"),
    ("http server listening", "HTTP server"),
    ("starting channels and sidecars", "after listening"),
    ("ready", "channels and sidecars"),
)
"""How a line of the gateway begins -> what is over then; in the order of its start."""


CLOUD_INIT_FIRST = "init-local/check-cache"
"""What cloud-init does first at every boot."""


@dataclass(frozen=True)
class Part:
    """One thing that took time."""

    name: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        """When it was over."""
        return self.start + self.seconds


def duration(text: str) -> float:
    """systemd's `1min 2.345s` or `833ms`, in seconds; raises ValueError where it is none."""
    units = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
    found = re.findall(r"([\d.]+)(h|min|ms|us|s)", text)
    if not found or "".join(number + unit for number, unit in found) != "".join(text.split()):
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * units[unit] for number, unit in found)


def startup(text: str) -> dict[str, float]:
    """`systemd-analyze time`: firmware, loader, kernel, initrd, userspace -> seconds."""
    first = next((line for line in text.splitlines() if line.startswith("Startup finished")), "")
    found = re.findall(r"([\d][\w. ]*?) \((\w+)\)", first)
    return {name: duration(seconds) for seconds, name in found}


def critical_chain(text: str) -> list[Part]:
    """`systemd-analyze critical-chain`: the units that the last one waited for, it first."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"[ └─]*(\S+) @([\w. ]+?)(?: \+([\w. ]+))?", line.rstrip())
        if match:
            took = duration(match[3]) if match[3] else 0.0
            found.append(Part(match[1], duration(match[2]), took))
    return found


def properties(text: str) -> list[dict[str, str]]:
    """`systemctl show`: the properties of each unit; one block where it was asked for none."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks
    ]


def moment(values: dict[str, str], name: str) -> float:
    """A monotonic timestamp in seconds; 0 where it has not come."""
    return int(values.get(f"{name}TimestampMonotonic") or 0) / 1e6


def units(text: str) -> list[Part]:
    """Every unit that took time to start, the longest first, as `systemd-analyze blame` counts."""
    found = []
    for values in properties(text):
        begun = moment(values, "InactiveExit")
        active, over = moment(values, "ActiveEnter"), moment(values, "ActiveExit")
        ended = active if active >= begun else over
        if begun and ended > begun:
            found.append(Part(values.get("Id", ""), begun, ended - begun))
    return sorted(found, key=lambda part: -part.seconds)


def cloud_init(text: str) -> list[Part]:
    """/var/log/cloud-init.log: the modules of the last boot, named `stage/module`, in their order.

    Their starts count from the log's first line of that boot. `cloud-init analyze` reads the same
    lines, and fails on a log that lacks the start of a stage, as those of Debian 12 do.
    """
    found: list[Part] = []
    begun: dict[str, datetime.datetime] = {}
    zero: datetime.datetime | None = None
    for line in text.splitlines():
        match = re.match(r"(\S+ \S+) - handlers\.py\[DEBUG\]: (start|finish): ([\w./-]+): ", line)
        if not match:
            continue
        at = datetime.datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f")
        what, name = match[2], match[3]
        if what == "start":
            if name == CLOUD_INIT_FIRST:
                found, begun, zero = [], {}, at
            begun[name] = at
        elif name in begun and "/" in name:
            start = begun.pop(name)
            since = (start - (zero or start)).total_seconds()
            found.append(Part(name, since, (at - start).total_seconds()))
    return found


def journal(text: str) -> list[tuple[float, str, str]]:
    """`journalctl -o short-monotonic`: (seconds, program, message) of each line."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\[\s*([\d.]+)\] \S+ ([^\s\[:]+)(?:\[\d+\])?: (.*)", line)
        if match:
            found.append((float(match[1]), match[2], match[3]))
    return found


def init_started(text: str) -> float | None:
    """When the kernel handed over to the first program, from its log; None where it is not told."""
    return next(
        (at for at, _, said in journal(text) if re.match(r"Run \S*init as init process", said)),
        None,
    )


def gateway(text: str) -> list[Part]:
    """The gateway's last start by its milestones, from its unit's journal.

    First what its unit does before it, then from one milestone to the next.
    """
    lines = journal(text)
    begun = [at for at, who, said in lines if who == "systemd" and said.startswith("Starting ")]
    started = [at for at, who, said in lines if who == "systemd" and said.startswith("Started ")]
    if not begun or not started:
        return []
    found = [Part("files into memory", begun[-1], max(0.0, started[-1] - begun[-1]))]
    last = started[-1]
    said_since = [(at, _gateways(said)) for at, _, said in lines if at >= last]
    for start, over in MILESTONES:
        at = next((at for at, said in said_since if said.startswith(start) and at >= last), None)
        if at is not None:
            found.append(Part(over, last, at - last))
            last = at
    return found


def _gateways(said: str) -> str:
    """A line's text after its time and `[gateway]`, "" where another part of OpenClaw said it."""
    match = re.match(r"(?:\d{4}-\S+ )?\[gateway\] (.*)", said)
    return match[1] if match else ""


def traced(text: str) -> list[Part]:
    """The gateway's startup trace (OPENCLAW_GATEWAY_STARTUP_TRACE=1), the longest first.

    A phase that holds others counts as well as these. What `process.bootstrap` tells again once
    the gateway runs is left out.
    """
    found = []
    for at, _, said in journal(text):
        match = re.match(r"startup trace: (\S+) ([\d.]+)ms\b", _gateways(said))
        if match and not match[1].startswith("process.bootstrap"):
            seconds = float(match[2]) / 1000
            found.append(Part(match[1], at - seconds, seconds))
    return sorted(found, key=lambda part: -part.seconds)
