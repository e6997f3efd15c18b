"""bubblewrap's command lines: QEMU in namespaces of its own, and helpers that join them; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vclaw.hypervisor.child import gated
from vclaw.hypervisor.machine import Machine, Memory, RootDisk
from vclaw.model import INTERNET
from vclaw.paths import ClawPaths

NAMESPACES = ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net")

TUN = Path("/dev/net/tun")

HALF_CLOSED_SECONDS = 3600
"""How long a connection may stay that one side has ended."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
"""What programs need to run. The rest of /etc is not their business."""


@dataclass(frozen=True)
class User:
    """Who QEMU is on the host.

    `become`: vclaw is somebody else, which only root can be, and changes to this user.
    `groups` are then its supplementary ones: none, but for that of /dev/kvm.
    """

    uid: int
    gid: int
    become: bool = False
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tools:
    """The programs' paths."""

    bwrap: Path
    nsenter: Path
    setpriv: Path


@dataclass(frozen=True)
class View:
    """Host paths that a walled QEMU sees, each in its own place."""

    readonly: tuple[Path, ...]
    writable: tuple[Path, ...]
    devices: tuple[Path, ...]


def view(
    machine: Machine,
    root: RootDisk,
    paths: ClawPaths,
    program: Path,
    memory: Memory | None = None,
) -> View:
    """What the QEMU `program` needs of the host for this claw, and no more.

    Memory that is not kept is a file descriptor, which needs no path.
    """
    own = () if program.is_relative_to("/usr") else (program.parent.parent,)
    boot = () if root.boot is None else (root.boot.kernel, root.boot.initrd)
    shares = machine.shares
    return View(
        readonly=(
            *own,
            *boot,
            *([root.base] if root.base else []),
            paths.seed,
            machine.runtime,
            *(share.path for share in shares if share.readonly),
        ),
        writable=(
            root.path,
            *([memory.path] if memory and memory.kept and memory.path else []),
            paths.sockets,
            paths.serial_log,
            *(share.path for share in shares if not share.readonly),
        ),
        devices=(
            *(Path("/dev/null"), Path("/dev/urandom")),
            *([Path("/dev/kvm")] if machine.accelerator == "kvm" else []),
        ),
    )


def argv(
    tools: Tools,
    user: User,
    seen: View,
    machine: Machine,
    paths: ClawPaths,
    qemu: Sequence[str],
    *,
    brief: bool = False,
) -> list[str]:
    """The command line that puts `qemu` behind the wall, its gate closed.

    A `brief` one ends with whoever starts it.

    Root makes the view first, since only root reaches the claw's folder in its home, and
    becomes the user in there; the namespaces are then made by the user, so that inside and
    outside of them nobody has root's rights.
    """
    namespaces = [*_namespaces(machine), *(["--die-with-parent"] if brief else [])]
    if not user.become:
        files = _files(seen, machine, paths)
        return [str(tools.bwrap), *namespaces, *files, "--proc", "/proc", "--", *gated(qemu)]
    return [
        *(str(tools.bwrap), *_files(seen, machine, paths)),
        *("--dev-bind", "/proc", "/proc", "--"),
        *become(tools, user),
        *(str(tools.bwrap), *namespaces),
        *("--dev-bind", "/", "/", "--proc", "/proc", "--"),
        *gated(qemu),
    ]


def _namespaces(machine: Machine) -> list[str]:
    # The environment says what holds, and makes another setting another command line.
    return [
        *NAMESPACES,
        *("--as-pid-1", "--cap-drop", "ALL"),
        *("--setenv", "VCLAW_NETWORK", machine.network),
        *("--setenv", "VCLAW_HOST_PORTS", ",".join(map(str, machine.allow_host_port))),
    ]


def _files(seen: View, machine: Machine, paths: ClawPaths) -> list[str]:
    words = ["--tmpfs", "/tmp", "--dir", "/dev", "--dir", "/etc"]
    for name in SYSTEM:
        words += ["--ro-bind-try", name, name]
    if machine.network == INTERNET:
        words += ["--ro-bind", str(paths.resolv_conf), "/etc/resolv.conf"]
    # Made first: bwrap closes the folders above a closed folder or file to all but their owner.
    bound = (*seen.readonly, *seen.writable)
    for parent in dict.fromkeys(path.parent for path in bound):
        words += ["--dir", str(parent)]
    for option, given in (
        ("--ro-bind", seen.readonly),
        ("--bind", seen.writable),
        ("--dev-bind", seen.devices),
    ):
        for path in given:
            words += [option, str(path), str(path)]
    return words


def become(tools: Tools, user: User) -> list[str]:
    """The words that make a program of root one of `user`, for good."""
    groups = ",".join(map(str, user.groups))
    return [
        str(tools.setpriv),
        *(f"--reuid={user.uid}", f"--regid={user.gid}"),
        f"--groups={groups}" if groups else "--clear-groups",
        *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"),
    ]


def inside(tools: Tools, user: User, userns: int, pidns: int, tun: Path | None) -> list[str]:
    """The words before a command that joins a claw's user and process namespaces.

    It keeps the host's files and network, and may enter and set up the claw's network, whose
    owner the user namespace is. `userns` and `pidns` are open descriptors; `tun` is a device
    node to use in place of the system's, where the user may not open that.
    """
    join = [
        *(str(tools.bwrap), "--userns", str(userns), "--pidns", str(pidns)),
        *("--dev-bind", "/", "/"),
        *("--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_NET_ADMIN", "--"),
    ]
    if not user.become:
        return join
    node = ["--dev-bind", str(tun), str(TUN)] if tun is not None else []
    outer = [str(tools.bwrap), "--dev-bind", "/", "/", *node, "--"]
    return [*outer, *become(tools, user), *join]


def relay(tools: Tools, socat: Path, netns: str, port: int) -> list[str]:
    """The words, to come after `inside`, of what leads a host port to the claw's of that number.

    The listener is in the host's network; for each connection it starts a socat in the claw's.
    In socat's addresses a backslash stands before what would end them (socat(1)).
    """
    # A side that has said all may still listen: for an hour, not socat's half second.
    patient = [str(socat), "-t", str(HALF_CLOSED_SECONDS)]
    within = [
        *(str(tools.nsenter), f"--net={netns}"),
        *patient,
        # Both directions go over one socket: without shut-down the end of one is not passed on.
        *("STDIO\\,shut-down", f"TCP4\\:127.0.0.1\\:{port}\\,nodelay"),
    ]
    listener = f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=128"
    return [*patient, listener, f"EXEC:{' '.join(within)}"]
