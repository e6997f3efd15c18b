"""The values that travel between the rooms: frozen, and validated once, where they enter."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""Machine names as kernels print them -> the names Debian and Ubuntu use."""

GATEWAY_GUEST_PORT = 18789
"""OpenClaw's default port; inside the guest it never changes."""


OPEN, INTERNET, NONE = "open", "internet", "none"
"""What a claw may reach: all that the host does, the internet alone, nothing."""

NETWORKS = (OPEN, INTERNET, NONE)


def host_arch() -> str:
    """The host's architecture as Debian names it; an unknown one is returned as it is."""
    machine = os.uname().machine.lower()
    return ARCHES.get(machine, machine)


@dataclass(frozen=True)
class ImageRef:
    """One image for one architecture.

    For `distro == "file"`, `path` is the absolute path of a local image and `version` the
    sha256 of its content in hex: a file is known by what is in it.
    """

    distro: str  # ubuntu | debian | file
    version: str  # 24.04 | 12 | <sha256>
    arch: str  # amd64 | arm64
    serial: str = ""  # YYYYMMDD[.N]: the build that was asked for by date, else ""
    path: Path | None = None

    @property
    def name(self) -> str:
        """What the user types: `ubuntu:24.04@20260930`, `debian:12`, `/abs/disk.img`."""
        if self.path is not None:
            return str(self.path)
        return f"{self.distro}:{self.version}" + (f"@{self.serial}" if self.serial else "")

    @property
    def key(self) -> str:
        """The folder name in the cache: `ubuntu_24.04_20260930`, `debian_12_arm64`."""
        version = self.version[:16] if self.distro == "file" else self.version
        key = f"{self.distro}_{version}" + (f"_{self.serial}" if self.serial else "")
        return key if self.arch == host_arch() else f"{key}_{self.arch}"


@dataclass(frozen=True)
class PortForward:
    """A TCP port of the host's loopback (127.0.0.1) that leads to a port of the guest."""

    host: int
    guest: int

    def __str__(self) -> str:
        return f"{self.host}:{self.guest}"


@dataclass(frozen=True)
class ClawSpec:
    """All that was decided about one claw; stored as claw.json. Secrets are kept elsewhere."""

    name: str
    image: ImageRef
    openclaw_version: str
    workspace: Path
    cpus: int
    memory_mib: int
    disk_gib: int
    gateway_port: int
    ssh_port: int
    port_fixed: bool = False  # the gateway's port was asked for, so no other will do
    publish: tuple[PortForward, ...] = ()
    # Fields from here on are younger than the first claw.json files, which lack them.
    network: str = INTERNET  # open | internet | none
    allow_host_port: tuple[int, ...] = ()  # of the host's loopback, open to the guest
    model: str = ""  # provider/name, "" where OpenClaw's own configuration decides
    model_base_url: str = ""  # as the user gave it: the host's 127.0.0.1 is another in the guest
    state: Path | None = None  # OpenClaw's state folder where it is kept outside the claw
    read_only_workspace: bool = False
    template: bool = True  # whether its disk may lie over a template's

    @property
    def host_ports(self) -> tuple[int, ...]:
        """Ports of the host's loopback that the guest reaches: those allowed, and the model's."""
        from vclaw import llm

        served = llm.host_port(self.model_base_url)
        if served is None or served in self.allow_host_port:
            return self.allow_host_port
        return (*self.allow_host_port, served)

    @property
    def forwards(self) -> tuple[PortForward, ...]:
        """Every forward of the claw, the gateway's first, SSH second."""
        return (
            PortForward(self.gateway_port, GATEWAY_GUEST_PORT),
            PortForward(self.ssh_port, 22),
            *self.publish,
        )
