"""A virtual machine as plain data, with nothing of any hypervisor in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vclaw.model import INTERNET, PortForward


@dataclass(frozen=True)
class Accelerator:
    """How a guest's processors are run.

    `name` is kvm, hvf or tcg. `reason` is one sentence for the user where it is tcg, else empty.
    """

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Share:
    """A host folder that the guest mounts by its tag."""

    tag: str
    path: Path
    readonly: bool = False


@dataclass(frozen=True)
class DirectBoot:
    """Kernel and initrd given from outside; `cmdline` is the kernel's whole command line."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True)
class RootDisk:
    """The guest's disk: `format` is raw or qcow2; without `boot` firmware finds a loader.

    `base` is the disk that this one lies over, where it holds only what differs from that.
    """

    path: Path
    format: str
    boot: DirectBoot | None = None
    base: Path | None = None


@dataclass(frozen=True)
class Memory:
    """Guest memory that is a file. What the guest writes goes into it where it is `kept`.

    Else the file is a saved guest's, whose state is loaded before this one runs, and it stays as
    it is: what the guest writes is its own. Without a `path` the state brings the memory along.
    """

    path: Path | None
    kept: bool


@dataclass(frozen=True)
class Machine:
    """What is decided before the disk exists; stored as machine.json."""

    name: str
    arch: str  # amd64 | arm64
    accelerator: str  # kvm | hvf | tcg
    cpus: int
    memory_mib: int
    runtime: Path  # the read-only OpenClaw disk
    forwards: tuple[PortForward, ...]
    shares: tuple[Share, ...]
    network: str = INTERNET  # open | internet | none
    allow_host_port: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As machine.json holds it: paths are strings."""
        value = asdict(self)
        value["runtime"] = str(self.runtime)
        for share in value["shares"]:
            share["path"] = str(share["path"])
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Machine:
        """The reverse of `to_json`; raises KeyError or TypeError on another shape."""
        fields = dict(value)
        fields["runtime"] = Path(fields["runtime"])
        fields["forwards"] = tuple(PortForward(**forward) for forward in fields["forwards"])
        fields["shares"] = tuple(
            Share(share["tag"], Path(share["path"]), share["readonly"])
            for share in fields["shares"]
        )
        fields["allow_host_port"] = tuple(fields.get("allow_host_port", ()))
        return cls(**fields)
