"""The files of one claw, each with a line on what it is."""

from __future__ import annotations

import os
from pathlib import Path

from vclaw import layout
from vclaw.errors import UsageError

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from vclaw.model import ClawSpec

SOCKET_PATH_MAX = 107
"""Bytes that fit in sockaddr_un.sun_path on Linux (108 with the closing zero)."""


class Folder:
    """A folder whose files have names; two are equal where they are the same folder.

    No dataclass: what those import takes as long to load as all else that `vclaw exec` needs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)


class BootFolder(Folder):
    """A folder with a disk in it that may be booted by a kernel from outside of that."""

    @property
    def kernel(self) -> Path:
        """The kernel for direct boot, as it is installed or unpacked (see `images.vmlinux`).

        Not there where firmware finds a boot loader.
        """
        return self.root / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initrd that belongs to `kernel`."""
        return self.root / "initrd.img"


class ClawPaths(BootFolder):
    """The files of one claw, all in `root` (0700)."""

    @property
    def spec(self) -> Path:
        """claw.json: what was asked for (`ClawSpec`)."""
        return self.root / layout.SPEC

    @property
    def machine(self) -> Path:
        """machine.json: what the hypervisor is told."""
        return self.root / "machine.json"

    @property
    def guest(self) -> Path:
        """guest.json (0600): what the guest is told; holds secrets."""
        return self.root / "guest.json"

    @property
    def secrets(self) -> Path:
        """secrets.json (0600): gateway token, environment, SSH keys."""
        return self.root / "secrets.json"

    @property
    def ssh_key(self) -> Path:
        """ssh_key (0600): the claw's own private key for its SSH."""
        return self.root / layout.SSH_KEY

    @property
    def known_hosts(self) -> Path:
        """known_hosts: pins the guest's one host key."""
        return self.root / layout.KNOWN_HOSTS

    @property
    def disk(self) -> Path:
        """instance.img: the guest's own disk; never written over."""
        return self.root / "instance.img"

    @property
    def disk_meta(self) -> Path:
        """disk.json: format, size, origin and boot method of instance.img. Written last."""
        return self.root / "disk.json"

    @property
    def clone(self) -> Path:
        """clone.json: how far the guest has come that goes on from a template's."""
        return self.root / "clone.json"

    @property
    def memory(self) -> Path:
        """The guest's memory, where that is kept in a file; with `saved` its devices' state too."""
        return self.root / "memory"

    @property
    def device(self) -> Path:
        """The state of the hypervisor's devices, where it is kept in a file of its own."""
        return self.root / "device"

    @property
    def seed(self) -> Path:
        """seed.iso (0600): the NoCloud seed."""
        return self.root / "seed.iso"

    @property
    def run(self) -> Path:
        """run.json: pid, start time and argv of the hypervisor process."""
        return self.root / layout.RUN

    @property
    def ready(self) -> Path:
        """ready.json: when each readiness check passed."""
        return self.root / layout.READY

    @property
    def timeline(self) -> Path:
        """timeline.json: how long each stage of the last boot took."""
        return self.root / "timeline.json"

    @property
    def suspended(self) -> Path:
        """suspended.json: what resume needs to undo; there while the claw is suspended."""
        return self.root / layout.SUSPENDED

    @property
    def saved(self) -> Path:
        """saved.json: there while the claw is suspended to the disk; see `claws.saved`."""
        return self.root / layout.SAVED

    @property
    def last_error(self) -> Path:
        """error.json: the last failure of this claw and its hint."""
        return self.root / layout.LAST_ERROR

    @property
    def installed(self) -> Path:
        """installed.json: versions and digests of the runtime disk of the last boot."""
        return self.root / "installed.json"

    @property
    def state(self) -> Path:
        """The claw's own folder for OpenClaw's state; see `state_of`."""
        return self.root / "state"

    def state_of(self, spec: ClawSpec) -> Path:
        """OpenClaw's state folder, mounted in the guest: the claw's own, or one outside of it."""
        return spec.state or self.state

    @property
    def sockets(self) -> Path:
        """Folder (0700) of the hypervisor's unix sockets; nothing else is in it to trust."""
        return self.root / layout.SOCKETS

    @property
    def qmp(self) -> Path:
        """QMP monitor for commands; serves one client at a time."""
        return self.sockets / "qmp.sock"

    @property
    def qmp_status(self) -> Path:
        """A second QMP monitor, for status questions only."""
        return self.root / layout.STATUS_SOCKET

    @property
    def channel(self) -> Path:
        """The guest agent's virtio-serial port."""
        return self.sockets / "guest.sock"

    @property
    def serial_socket(self) -> Path:
        """The guest's serial console, to type into."""
        return self.sockets / "serial.sock"

    @property
    def machine_sockets(self) -> tuple[Path, ...]:
        """Every socket on which the hypervisor listens."""
        return self.qmp_status, self.qmp, self.channel, self.serial_socket

    @property
    def ssh_control(self) -> Path:
        """The shared SSH connection's socket; there while one stands."""
        return self.root / layout.SSH_CONTROL

    @property
    def ssh_lock(self) -> Path:
        """Held by whoever opens the shared SSH connection."""
        return self.root / layout.SSH_LOCK

    @property
    def resolv_conf(self) -> Path:
        """resolv.conf as the walled QEMU sees it; its name server is pasta."""
        return self.root / "resolv.conf"

    @property
    def tun(self) -> Path:
        """A device node like /dev/net/tun that the claw's user may open, where root needs one."""
        return self.root / "tun"

    @property
    def helpers(self) -> Path:
        """helpers.json: pasta's process, and that of each host port's relay into the claw."""
        return self.root / "helpers.json"

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.root / "logs"

    @property
    def serial_log(self) -> Path:
        """All that the guest printed on its serial console."""
        return self.logs / "serial.log"

    @property
    def hypervisor_log(self) -> Path:
        """What the hypervisor process printed itself."""
        return self.logs / "qemu.log"

    @property
    def ssh_log(self) -> Path:
        """What ssh printed when it last opened the shared connection."""
        return self.logs / "ssh.log"

    @property
    def browser_page(self) -> Path:
        """open.html (0600): leads a browser to the Control UI; holds the token."""
        return self.root / "open.html"

    @property
    def lock(self) -> Path:
        """Held by whoever changes this claw."""
        return self.root / "lock"

    @property
    def doit_db(self) -> Path:
        """doit's database for this claw's stages."""
        return self.root / "doit.db"


def check_socket_length(paths: ClawPaths) -> None:
    """Raise UsageError where a socket of this claw would not fit in a unix socket address."""
    # ssh makes its socket under a name that is a dot and 16 letters longer, and renames it.
    connecting = paths.ssh_control.with_name(f"{paths.ssh_control.name}.{'x' * 16}")
    longest = max(
        (*paths.machine_sockets, connecting),
        key=lambda path: len(os.fsencode(path)),
    )
    length = len(os.fsencode(longest))
    if length > SOCKET_PATH_MAX:
        raise UsageError(
            f"The path {longest} has {length} bytes, and a unix socket's path has at most "
            f"{SOCKET_PATH_MAX}.",
            "Set VCLAW_DATA_DIR to a shorter folder, or choose a shorter --name.",
        )


def absolute(path: str) -> Path:
    """A path as a user writes it, with `~` for the home and every link kept as it is."""
    return Path(layout.absolute(path))
