"""Chooses hardware acceleration where a trial shows that it works, else emulation."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vclaw import fsutil, proc
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.hypervisor.machine import Accelerator
from vclaw.model import host_arch

KVM = Path("/dev/kvm")

DEADLINE_SECONDS = 10.0
"""The trial takes less than a second where KVM works, and some more on a busy host."""

PASSED = {"amd64": 85, "arm64": 0}
"""QEMU's exit status after a passed trial: isa-debug-exit's (0x2a << 1) | 1, and a power-off."""

NATIVE = {"linux": "kvm", "darwin": "hvf"}
"""The accelerator that each system has."""

SLOW = "so the claw is emulated (TCG), some 10 to 30 times slower"


@dataclass(frozen=True)
class Host:
    """What of the host decides, before any trial."""

    system: str  # sys.platform: linux | darwin | ...
    arch: str  # amd64 | arm64 | ...
    device: str = ""  # Linux: /dev/kvm is "" (usable), "missing" or "denied"
    hvf: bool = False  # macOS: the processor and the system allow it
    wanted: str = ""  # VCLAW_ACCEL


Trial = Callable[[list[str], int], "Outcome"]
"""Runs a trial's argv, to be passed with this exit status."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `cause` is empty where it passed, else a sentence; `output` QEMU's."""

    cause: str = ""
    output: str = ""


def choose(home: Home, arch: str, qemu: Path, cpus: int) -> Accelerator:
    """The accelerator for a guest of `arch` with `cpus` processors, run by the binary `qemu`.

    KVM is chosen only after a guest of our own has passed a trial with the real -cpu and -smp;
    the result is kept in `home.accelerator` until the host, its kernel or QEMU change. Where
    that file cannot be written, each call makes the trial again. VCLAW_ACCEL (kvm, hvf, tcg)
    decides without a trial; raises UsageError where it asks for what cannot be.

    The trials: amd64's guest does in long mode, on every processor, what a kernel does early
    (see trial-amd64.S). arm64's runs on every processor and powers off, without an MMU: it
    shows that KVM executes guest code, and no more (see trial-arm64.S).
    """
    decided = decide(probe_host(), arch)
    if decided is not None:
        return decided
    return trial_result(home, arch, qemu, cpus, identity(arch, qemu), run_trial)


def decide(host: Host, arch: str) -> Accelerator | None:
    """The accelerator where no trial is needed, None where KVM is to be tried.

    Raises UsageError where VCLAW_ACCEL asks for what this host does not have.
    """
    native = NATIVE.get(host.system, "")
    if host.wanted:
        return _as_wanted(host, arch, native)
    if arch != host.arch:
        return Accelerator("tcg", f"The image is for {arch} and this host is {host.arch}, {SLOW}.")
    if native == "hvf":
        off = f"This Mac offers no virtualization (kern.hv_support is not 1), {SLOW}."
        return Accelerator("hvf") if host.hvf else Accelerator("tcg", off)
    if native != "kvm":
        return Accelerator("tcg", f"vclaw knows no acceleration for {host.system}, {SLOW}.")
    if host.device == "missing":
        return Accelerator(
            "tcg",
            f"This host has no {KVM} (virtualization is off in its firmware, or it is a virtual "
            f"machine without nested virtualization), {SLOW}.",
        )
    if host.device == "denied":
        return Accelerator(
            "tcg",
            f"{KVM} is closed to this user, {SLOW}; `sudo usermod -aG kvm $USER` and a new login "
            "open it.",
        )
    return None


def _as_wanted(host: Host, arch: str, native: str) -> Accelerator:
    possible = ["tcg"]
    if native and arch == host.arch:
        possible.insert(0, native)
    if host.wanted not in possible:
        raise UsageError(
            f"VCLAW_ACCEL={host.wanted} is not possible for a guest of {arch} on this host.",
            f"Set it to {' or '.join(possible)}, or unset it.",
        )
    reason = "VCLAW_ACCEL=tcg asks for emulation." if host.wanted == "tcg" else ""
    return Accelerator(host.wanted, reason)


def probe_host(env: Mapping[str, str] = os.environ) -> Host:
    """Look at this host; starts nothing on Linux, `sysctl` on macOS."""
    device = ""
    if not KVM.exists():
        device = "missing"
    elif not os.access(KVM, os.R_OK | os.W_OK):
        device = "denied"
    return Host(
        system=sys.platform,
        arch=host_arch(),
        device=device,
        hvf=sys.platform == "darwin" and _hvf_offered(),
        wanted=env.get("VCLAW_ACCEL", ""),
    )


def _hvf_offered() -> bool:
    try:
        return proc.run(["sysctl", "-n", "kern.hv_support"], timeout=5).strip() == "1"
    except VclawError:
        return False


def argv(qemu: Path, arch: str, cpus: int, accelerator: str = "kvm") -> list[str]:
    """The trial's command line: the machine that a claw gets, with 64 MiB and our guest."""
    machine = {"amd64": "q35,hpet=off", "arm64": "virt"}[arch]
    words = [
        str(qemu),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-machine", machine),
        *("-accel", accelerator),
        *("-cpu", "max" if accelerator == "tcg" else "host"),
        *("-smp", str(cpus)),
        *("-m", "64M"),
        *("-kernel", str(image(arch))),
    ]
    if arch == "amd64":
        words += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
        words += ["-debugcon", "stdio"]
    return words


def image(arch: str) -> Path:
    """The trial's guest, shipped with its source beside it."""
    return Path(__file__).with_name(f"trial-{arch}.bin")


def run_trial(words: list[str], passed: int, deadline: float = DEADLINE_SECONDS) -> Outcome:
    """Run one trial; QEMU is killed and reaped when `deadline` seconds are over."""
    try:
        proc.run(words, timeout=deadline, what="its trial", success=passed)
    except VclawError as error:
        return Outcome(error.message.rstrip("."), error.hint)
    except OSError as error:
        return Outcome(f"{words[0]} cannot be run: {error.strerror}")
    return Outcome()


def identity(arch: str, qemu: Path) -> dict[str, Any]:
    """All that could change a trial's outcome, apart from the number of processors."""
    stat = qemu.stat()
    return {
        "kernel": platform.release(),
        "modules": sorted(path.name for path in Path("/sys/module").glob("kvm*")),
        "processor": processor_digest(),
        "user": os.getuid(),
        "arch": arch,
        "qemu": str(qemu),
        "qemu_size": stat.st_size,
        "qemu_mtime_ns": stat.st_mtime_ns,
        "trial": hashlib.sha256(image(arch).read_bytes()).hexdigest(),
    }


def processor_digest(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A digest of the first processor's model, stepping, microcode and flags."""
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]
    except OSError:
        return ""
    # The clock's rate is another at every look.
    moving = ("cpu mhz", "bogomips")
    lines = [line for line in first.splitlines() if not line.lower().startswith(moving)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def trial_result(
    home: Home, arch: str, qemu: Path, cpus: int, host: Mapping[str, Any], trial: Trial
) -> Accelerator:
    """KVM or TCG by the kept outcome of the trial, or by a new one, which is then kept.

    accelerator.json: {"host": identity(...), "outcomes": {"<cpus>": {"cause", "output"}}}.
    """
    outcomes = _kept(home.accelerator, host)
    outcome = outcomes.get(str(cpus))
    if outcome is None:
        outcome = trial(argv(qemu, arch, cpus), PASSED[arch])
        outcomes[str(cpus)] = outcome
        _keep(home.accelerator, host, outcomes)
    if not outcome.cause:
        return Accelerator("kvm")
    reason = f"KVM does not work here ({outcome.cause}), {SLOW}"
    if home.accelerator.is_file():
        reason += f"; remove {home.accelerator} to try again"
    return Accelerator("tcg", reason + ".")


def _kept(path: Path, host: Mapping[str, Any]) -> dict[str, Outcome]:
    try:
        stored = fsutil.read_json(path)
        if stored["host"] != host:
            return {}
        return {
            cpus: Outcome(str(outcome["cause"]), str(outcome["output"]))
            for cpus, outcome in stored["outcomes"].items()
        }
    except (OSError, VclawError, KeyError, TypeError, AttributeError):
        return {}


def _keep(path: Path, host: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
    value = {
        "host": dict(host),
        "outcomes": {cpus: vars(outcome) for cpus, outcome in outcomes.items()},
    }
    try:
        fsutil.make_folder(path.parent)
        fsutil.sweep(path.parent)
        fsutil.write_json(path, value)
    except (OSError, UsageError):
        # A cache that cannot be written costs a trial at each start, and nothing else.
        return
