"""Starts a walled QEMU: namespaces, rules, pasta and relays first, QEMU last."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from vclaw import fsutil, proc
from vclaw.errors import VclawError
from vclaw.hypervisor.child import open_gate
from vclaw.hypervisor.machine import Machine, Memory, RootDisk
from vclaw.hypervisor.process import Process
from vclaw.paths import ClawPaths
from vclaw.wall import helpers, mechanism, network, relays, sandbox
from vclaw.wall.namespaces import PATH, Namespaces, told_pid

NETWORK_SECONDS = 15.0
"""pasta needs a fraction of a second."""


GATE_SECONDS = 20.0
"""bubblewrap needs some hundredths of a second, on a busy host more."""


class Walled:
    """A QEMU that waits behind its gate; see `vclaw.hypervisor.child.Child`."""

    def __init__(self, monitor: subprocess.Popen[bytes], pid: int) -> None:
        self._monitor = monitor
        self.pid = pid

    def go(self) -> None:
        """Open the gate."""
        open_gate(self._monitor)

    def poll(self) -> int | None:
        """QEMU's exit status, None while it runs; 128 and more where a signal ended it."""
        return self._monitor.poll()

    def kill(self) -> None:
        """End it, and with it all that is in its process namespace; return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._monitor.wait()


def argv(
    machine: Machine,
    root: RootDisk,
    paths: ClawPaths,
    qemu: Sequence[str],
    memory: Memory | None = None,
) -> list[str]:
    """The command line `qemu` in its wall; raises UsageError where a tool is missing.

    A machine whose memory is kept is one that vclaw boots to save it, and lives no longer.
    """
    user = mechanism.user(mechanism.workspace_of(machine), machine.accelerator)
    seen = sandbox.view(machine, root, paths, Path(qemu[0]), memory)
    brief = memory is not None and memory.kept
    return sandbox.argv(mechanism.tools(), user, seen, machine, paths, qemu, brief=brief)


def spawn(
    machine: Machine,
    paths: ClawPaths,
    argv: Sequence[str],
    log: IO[bytes],
    held: Sequence[int] = (),
) -> Walled:
    """Start `argv` up to its gate, with the network that `machine` has.

    It inherits the file descriptors `held`: locks that shall last as long as it does.

    Raises VclawError where a part does not start; nothing is left then.
    """
    user = mechanism.user(mechanism.workspace_of(machine), machine.accelerator)
    tun = _hand_over(machine, paths, user)
    child = _enter(argv, log, held)
    try:
        claw = Namespaces(child.pid, user, tun)
        rules = network.rules(machine.network, _own_networks())
        nft = proc.need("nft", mechanism.PURPOSE)
        claw.run([*claw.enter_network(), str(nft), "-f", "-"], rules)
        _connect(machine, paths, claw, log)  # with all closed that is to be closed
    except BaseException:
        child.kill()
        raise
    return child


def _hand_over(machine: Machine, paths: ClawPaths, user: sandbox.User) -> Path | None:
    """Give a user that root becomes what QEMU alone reads and writes, still in root's folder.

    Returns the tun device that this user is to have, None where the system's will do.
    """
    fsutil.write_if_changed(paths.resolv_conf, f"nameserver {network.DNS}\n".encode())
    paths.serial_log.touch(mode=0o600)
    if not user.become:
        return None
    for path in (paths.disk, paths.seed, paths.sockets, paths.serial_log):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
    system = sandbox.TUN.stat().st_mode if sandbox.TUN.exists() else 0
    needed = network.needs_pasta(machine.network, machine.allow_host_port)
    paths.tun.unlink(missing_ok=True)
    if not needed or system & 0o006 == 0o006:
        return None
    os.mknod(paths.tun, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    os.chown(paths.tun, user.uid, user.gid)
    return paths.tun


def _enter(argv: Sequence[str], log: IO[bytes], held: Sequence[int]) -> Walled:
    """Make the namespaces; bubblewrap then tells the pid of their first process."""
    reading, writing = os.pipe()
    try:
        monitor = subprocess.Popen(
            _telling(argv, writing),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={"PATH": PATH},
            cwd="/",
            pass_fds=(writing, *held),
            start_new_session=True,
        )
    finally:
        os.close(writing)
    with contextlib.suppress(VclawError):
        child = Walled(monitor, told_pid(reading))
        if _at_gate(child):
            return child
        child.kill()
    status = monitor.wait()
    raise VclawError(
        f"The namespaces of the claw could not be made (exit status {status}).",
        f"What bwrap said is in {log.name}.",
    )


def _at_gate(child: Walled) -> bool:
    """Wait until the namespaces are made, and bubblewrap's rights in them given up."""
    deadline = time.monotonic() + GATE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child.pid}/comm").read_text() == "sh\n":
                return True
        time.sleep(0.005)
    return False


def _telling(argv: Sequence[str], fd: int) -> list[str]:
    """`argv` with the bubblewrap that makes the namespaces told to write to `fd`."""
    place = list(argv).index(sandbox.NAMESPACES[0])
    return [*argv[:place], "--info-fd", str(fd), *argv[place:]]


def _connect(machine: Machine, paths: ClawPaths, claw: Namespaces, log: IO[bytes]) -> None:
    """Let pasta connect the claw's network to the world, where it is to be and is not."""
    running = helpers.running(paths)
    if helpers.PASTA in running or not _wants_pasta(machine):
        return
    pasta = proc.need("pasta", mechanism.PURPOSE)
    words = network.pasta(pasta, claw.netns, machine.allow_host_port)
    helper = claw.start(words, log)
    helpers.save(paths, {**running, helpers.PASTA: helper.process(words)})
    helper.go()
    deadline = time.monotonic() + NETWORK_SECONDS
    while not network.has_default_route(Path(f"/proc/{claw.pid}/net/route").read_text()):
        if helper.monitor.poll() is not None or time.monotonic() > deadline:
            raise VclawError(
                "pasta did not connect the claw to the network.",
                f"What it said is in {log.name}; `--network none` does without it.",
            )
        time.sleep(0.02)


def _wants_pasta(machine: Machine) -> bool:
    """pasta takes a host's addresses over, and cannot begin where there is no route."""
    return network.needs_pasta(machine.network, machine.allow_host_port) and mechanism.routed()


def _own_networks() -> list[str]:
    import psutil

    return network.host_networks(
        (entry.address, entry.netmask)
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    )


def mend(machine: Machine, paths: ClawPaths, process: Process) -> None:
    """Let the machine's ports of the host, and no others, lead into its walled QEMU `process`.

    Connects it to the network where it is not. May be repeated at any time. Raises VclawError
    where a port cannot be listened on, or pasta does not start.
    """
    user = mechanism.user(mechanism.workspace_of(machine), machine.accelerator)
    claw = Namespaces(process.pid, user, paths.tun if paths.tun.exists() else None)
    wanted = [forward.host for forward in machine.forwards]
    with paths.hypervisor_log.open("ab") as log:
        _connect(machine, paths, claw, log)
        relays.lead(paths, claw, wanted, log)


def is_whole(machine: Machine, paths: ClawPaths) -> bool:
    """Whether nothing is to be mended of a walled claw that runs."""
    wanted = {str(forward.host) for forward in machine.forwards}
    running = set(helpers.running(paths))
    connected = helpers.PASTA in running or not _wants_pasta(machine)
    return connected and running - {helpers.PASTA} == wanted
