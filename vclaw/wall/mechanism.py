"""Whether this host has what the wall takes, found out before anything is made."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from vclaw import proc
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.machine import Machine
from vclaw.wall import network, sandbox
from vclaw.wall.sandbox import Tools, User

PURPOSE = "closing the host to the guest"

TRIAL_SECONDS = 20.0
"""An empty sandbox takes some hundredths of a second, on a busy host more."""

OPEN_HINT = "`--network open` (or VCLAW_NETWORK=open) does without the wall."

APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""1 where Ubuntu's AppArmor takes the rights in their own user namespaces from users."""

KVM = Path("/dev/kvm")


def tools() -> Tools:
    """The programs that every walled claw takes; raises UsageError that names the package."""
    return Tools(*(proc.need(name, PURPOSE) for name in ("bwrap", "nsenter", "setpriv")))


def user(workspace: Path, accelerator: str) -> User:
    """Who QEMU shall be: whoever runs vclaw, or for root the workspace's owner.

    What the guest makes in the workspace then belongs to its owner. Where that is root itself,
    QEMU is root by name alone: without capabilities, in a user namespace, seeing few files.
    """
    if os.geteuid() != 0:
        return User(os.geteuid(), os.getegid())
    owner = workspace.stat()
    if owner.st_uid == 0:
        return User(0, 0)
    return User(owner.st_uid, owner.st_gid, True, _kvm_groups() if accelerator == "kvm" else ())


def _kvm_groups() -> tuple[int, ...]:
    """The group of /dev/kvm where that is open to its group and not to all."""
    try:
        device = KVM.stat()
    except OSError:
        return ()
    mode = stat.S_IMODE(device.st_mode)
    return (device.st_gid,) if mode & 0o060 == 0o060 and mode & 0o006 != 0o006 else ()


def workspace_of(machine: Machine) -> Path:
    """The folder whose owner decides who QEMU is."""
    return next(share.path for share in machine.shares if share.tag == "workspace")


def require(reach: str, host_ports: Sequence[int], user: User) -> None:
    """Raise UsageError where this host cannot wall a claw in, with what is missing."""
    try:
        if sys.platform != "linux":
            raise UsageError("The wall around a claw takes Linux's namespaces.", "")
        found = tools()
        for program in ("nft", "socat"):
            proc.need(program, PURPOSE)
        _try_namespaces(found, user)
        if network.needs_pasta(reach, host_ports):
            proc.need("pasta", PURPOSE)
            _check_tun()
    except UsageError as error:
        raise UsageError(error.message, f"{error.hint} {OPEN_HINT}".strip()) from None


def _try_namespaces(found: Tools, user: User) -> None:
    """Make the namespaces once, around a program that does nothing."""
    words = sandbox.become(found, user) if user.become else []
    words += [str(found.bwrap), *sandbox.NAMESPACES, "--as-pid-1", "--cap-drop", "ALL"]
    words += ["--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"]
    try:
        proc.run(words, timeout=TRIAL_SECONDS, what="bwrap", cwd=Path("/"))
    except VclawError as error:
        said = (error.hint.splitlines() or [""])[-1]
        hint = "Allow unprivileged user namespaces (sysctl user.max_user_namespaces)."
        if _text(APPARMOR) == "1":
            hint = f"AppArmor closes them to users; as root: sysctl -w kernel.{APPARMOR.name}=0."
        raise UsageError(f"Namespaces cannot be made on this host: {said}.", hint) from None


def _check_tun() -> None:
    # Root gives a claw's user a node of its own where the system's is closed.
    if os.geteuid() != 0 and not os.access(sandbox.TUN, os.R_OK | os.W_OK):
        raise UsageError(
            f"{sandbox.TUN} is missing or closed to this user.",
            f"As root: modprobe tun && chmod 666 {sandbox.TUN}.",
        )


def routed() -> bool:
    """Whether this host has a route to the internet now."""
    return network.has_default_route(_text(Path("/proc/net/route")))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
