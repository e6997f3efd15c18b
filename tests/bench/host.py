"""What a figure depends on beside the code: the machine, and the programs that were measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

MEMORY_STEP_MIB = 256
"""Memory is told in such steps: of the same machine a kernel finds now a little more, now less."""


def facts() -> dict[str, str | int]:
    """The machine facts that a report carries."""
    import psutil

    memory = round(psutil.virtual_memory().total / 2**20 / MEMORY_STEP_MIB) * MEMORY_STEP_MIB
    return {
        "cpu": cpu_model(_text(Path("/proc/cpuinfo"))) or platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_mib": memory,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "qemu": qemu_version(),
        "accelerator": accelerator(),
    }


def cpu_model(cpuinfo: str) -> str:
    """The processor's name from /proc/cpuinfo's text, "" where it has none (as on arm64)."""
    found = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def qemu_version() -> str:
    """QEMU's version, "" where it is not installed."""
    from vclaw.errors import UsageError
    from vclaw.hypervisor.qemu import Qemu
    from vclaw.model import host_arch

    try:
        program = Qemu().program(host_arch())
    except UsageError:
        return ""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+)", said.stdout)
    return found[1] if found else ""


def accelerator() -> str:
    """What a claw runs with here."""
    from vclaw import hypervisor
    from vclaw.errors import UsageError
    from vclaw.home import Home
    from vclaw.model import host_arch

    try:
        return hypervisor.current().accelerator(Home.from_env(), host_arch(), 2).name
    except UsageError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
