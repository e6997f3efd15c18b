"""The QEMU command line of a machine: pure, one option and its value a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from vclaw.hypervisor.machine import Machine, Memory, RootDisk, Share
from vclaw.paths import ClawPaths

PROGRAMS = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}

TCG_CODE_CACHE_MIB = 1024
"""A gateway start flushed the default code cache several times over."""

NETDEV = "net"
"""The network device's name in QEMU."""

MEMORIES = {"amd64": "pc.ram", "arm64": "mach-virt.ram"}
"""The name that each machine gives its memory, and that a saved guest's state has it under.

One that is a file has the same: a guest may be saved from a machine of one kind and go on in one
of another.
"""

MEMORY_OPTION = re.compile(
    r"memory-backend-file,id=[a-z.-]+,size=\d+M,share=(?P<share>on|off),mem-path=(?P<path>.+)",
    re.DOTALL,
)

INCOMING = ("-incoming", "defer")
"""The machine waits for the state of a saved guest."""

AGENT_PORT = "org.vclaw.agent"
"""Name of the guest agent's virtio-serial port."""


def build(
    program: Path,
    machine: Machine,
    root: RootDisk,
    paths: ClawPaths,
    firmware: Path | None = None,
    sandbox: bool = sys.platform == "linux",
    memory: Memory | None = None,
) -> list[str]:
    """The whole argv. `firmware` is the UEFI image that the arm64 `virt` machine boots from."""
    return [
        str(program),
        *_hardening(sandbox),
        *_platform(machine, firmware, memory),
        *_boot(root),
        *_disks(machine, root, paths),
        *_network(),
        *_devices(paths),
        *[word for share in machine.shares for word in _share(share)],
        *_monitors(paths),
    ]


def _hardening(sandbox: bool) -> list[str]:
    words = ["-nodefaults", "-no-user-config", "-display", "none"]
    if sandbox:
        denied = "obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
        words += ["-sandbox", f"on,{denied}"]
    return words


def _platform(machine: Machine, firmware: Path | None, memory: Memory | None) -> list[str]:
    # Under emulation Linux falls back to the HPET, whose every read leaves the guest: without
    # it an idle guest costs a fifth of a core instead of most of one.
    kind = "q35,hpet=off" if machine.arch == "amd64" else "virt"
    emulated = machine.accelerator == "tcg"
    accelerator = machine.accelerator
    if emulated:
        accelerator += f",thread=multi,tb-size={TCG_CODE_CACHE_MIB}"
    if memory is not None and memory.path is not None:
        kind += f",memory-backend={MEMORIES[machine.arch]}"
    return [
        *("-name", f"vclaw-{machine.name}"),
        *("-machine", kind),
        *("-accel", accelerator),
        *("-cpu", "max" if emulated else "host"),
        *("-smp", str(machine.cpus)),
        *("-m", f"{machine.memory_mib}M"),
        *(_memory(machine, memory) if memory else []),
        *("-rtc", "base=utc"),
        *(["-bios", str(firmware)] if firmware else []),
    ]


def _memory(machine: Machine, memory: Memory) -> list[str]:
    words: list[str] = []
    if memory.path is not None:
        # Not shared is copy-on-write: the file, another guest's, is mapped and never written.
        share = "on" if memory.kept else "off"
        option = f"memory-backend-file,id={MEMORIES[machine.arch]},size={machine.memory_mib}M"
        words = ["-object", f"{option},share={share},mem-path={escape(memory.path)}"]
    return [*words, *(() if memory.kept else INCOMING)]


def memory_of(argv: Sequence[str]) -> Memory | None:
    """The memory that `build` was told of, as the command line has it."""
    for word in argv:
        found = MEMORY_OPTION.fullmatch(word)
        if found is not None:
            return Memory(Path(found["path"].replace(",,", ",")), kept=found["share"] == "on")
    return Memory(None, kept=False) if INCOMING[0] in argv else None


def _boot(root: RootDisk) -> list[str]:
    if root.boot is None:
        return []
    return [
        *("-kernel", str(root.boot.kernel)),
        *("-initrd", str(root.boot.initrd)),
        *("-append", root.boot.cmdline),
    ]


def _disks(machine: Machine, root: RootDisk, paths: ClawPaths) -> list[str]:
    return [
        *_disk("root", root.path, root.format, "discard=unmap,detect-zeroes=unmap"),
        *_disk("seed", paths.seed, "raw", "readonly=on"),
        *_disk("runtime", machine.runtime, "raw", "readonly=on"),
    ]


def _disk(name: str, path: Path, form: str, options: str) -> list[str]:
    # The guest finds a disk by its serial: /dev/disk/by-id/virtio-<name>. The firmware tries
    # them in this order, so the root disk comes first.
    return [
        *("-drive", f"if=none,id={name},file={escape(path)},format={form},{options}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}"),
    ]


def _network() -> list[str]:
    # Forwards are no part of it: they change while the machine runs (see forwards.py).
    return [
        *("-netdev", f"user,id={NETDEV},ipv6=off"),
        # Without its boot ROM: nothing boots from the network, and the firmware starts sooner.
        *("-device", f"virtio-net-pci,netdev={NETDEV},romfile="),
    ]


def _devices(paths: ClawPaths) -> list[str]:
    return [
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={escape(paths.channel)},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"),
        *(
            "-chardev",
            f"socket,id=console,path={escape(paths.serial_socket)},server=on,wait=off,"
            f"logfile={escape(paths.serial_log)},logappend=on",
        ),
        *("-serial", "chardev:console"),
    ]


def _share(share: Share) -> list[str]:
    readonly = ",readonly=on" if share.readonly else ""
    # security_model=none: the server acts as QEMU's own user, so what the guest makes belongs
    # to that user, and its symlinks are symlinks.
    return [
        "-fsdev",
        f"local,id={share.tag},path={escape(share.path)},security_model=none,"
        f"multidevs=remap{readonly}",
        "-device",
        f"virtio-9p-pci,fsdev={share.tag},mount_tag={share.tag}",
    ]


def _monitors(paths: ClawPaths) -> list[str]:
    # A QMP socket serves one client at a time: questions about the status get their own.
    return [*monitor("qmp", paths.qmp), *monitor("status", paths.qmp_status)]


def monitor(name: str, path: Path) -> list[str]:
    """The words that let a QMP monitor listen on the socket `path`, which they name whole."""
    return [
        *("-chardev", f"socket,id={name},path={escape(path)},server=on,wait=off"),
        *("-mon", f"chardev={name},mode=control"),
    ]


def escape(path: Path) -> str:
    """A path as a value in a QEMU option: a comma is written twice."""
    return str(path).replace(",", ",,")
