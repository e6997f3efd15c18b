"""QEMU as a hypervisor: KVM or HVF where they work, else emulation."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vclaw import crashpoints, proc
from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.hypervisor import Hypervisor
from vclaw.hypervisor.machine import Accelerator, Machine, Memory, RootDisk
from vclaw.hypervisor.process import Process, start_mark
from vclaw.hypervisor.qemu import argv as command_line
from vclaw.hypervisor.qemu import qmp
from vclaw.model import PortForward
from vclaw.paths import ClawPaths

if TYPE_CHECKING:
    from vclaw.hypervisor import Spawn

START_SECONDS = 30.0
"""QEMU opens its monitor within a second; a busy machine is given more."""

STATUS_SECONDS = 0.5
"""A question for `vclaw ps`, which must not hang on a hung QEMU."""

STATES = {
    "running": "running",
    "paused": "paused",
    "suspended": "paused",
    "prelaunch": "paused",
    "postmigrate": "paused",
    "inmigrate": "paused",
}
"""QEMU's word (RunState in its qapi/run-state.json) -> ours; any other is told as it is."""

ARM_FIRMWARE = (
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    "/opt/homebrew/share/qemu/edk2-aarch64-code.fd",
    "/usr/local/share/qemu/edk2-aarch64-code.fd",
)
"""Where Debian, Ubuntu and Homebrew keep the UEFI firmware of the `virt` machine."""


class Qemu(Hypervisor):
    """See `vclaw.hypervisor.Hypervisor`."""

    def program(self, arch: str) -> Path:
        """The QEMU binary for guests of `arch`; raises UsageError that names its package."""
        return proc.need(command_line.PROGRAMS[arch], "booting a claw")

    def accelerator(self, home: Home, arch: str, cpus: int) -> Accelerator:
        """KVM or HVF where they work, else emulation."""
        from vclaw.hypervisor.qemu import accelerator

        return accelerator.choose(home, arch, self.program(arch), cpus)

    def argv(
        self, machine: Machine, root: RootDisk, paths: ClawPaths, memory: Memory | None = None
    ) -> list[str]:
        """The command line that starts `machine`."""
        needs_firmware = machine.arch == "arm64" and root.boot is None
        firmware = _arm_firmware() if needs_firmware else None
        program = self.program(machine.arch)
        return command_line.build(program, machine, root, paths, firmware, memory=memory)

    def memory_of(self, argv: Sequence[str]) -> Memory | None:
        """The memory that a command line names."""
        return command_line.memory_of(argv)

    def fingerprint(self, machine: Machine) -> str:
        """What a saved guest of such a machine depends on, as text."""
        from vclaw.hypervisor.qemu import snapshot

        return snapshot.fingerprint(self.program(machine.arch), machine)

    def start(
        self, argv: list[str], paths: ClawPaths, spawn: Spawn, started: Callable[[Process], None]
    ) -> None:
        """Start QEMU in a session of its own and wait for its monitor."""
        for socket in paths.machine_sockets:
            socket.unlink(missing_ok=True)
        crashpoints.reach("boot.cleared")
        with paths.hypervisor_log.open("ab") as log:
            offset = log.tell()
            child = spawn(argv, log)
        try:
            crashpoints.reach("boot.spawned")
            started(Process(child.pid, start_mark(child.pid), tuple(argv)))
            crashpoints.reach("boot.recorded")
        except BaseException:
            child.kill()
            raise
        child.go()
        crashpoints.reach("boot.released")
        deadline = time.monotonic() + START_SECONDS
        while (status := child.poll()) is None:
            if paths.qmp.exists() and self.state(paths) != "unknown":
                crashpoints.reach("boot.answered")
                return
            if time.monotonic() > deadline:
                child.kill()
                raise VclawError(
                    f"QEMU did not open its monitor within {START_SECONDS:g} s.",
                    f"Its output is in {paths.hypervisor_log}.",
                )
            time.sleep(0.02)
        said = paths.hypervisor_log.read_bytes()[offset:].decode(errors="replace")
        raise VclawError(
            f"QEMU ended at once with exit status {status}.",
            proc.tail(said) or f"It printed nothing; its log is {paths.hypervisor_log}.",
        )

    def forward(self, paths: ClawPaths, forwards: Collection[PortForward]) -> None:
        """Let exactly these ports lead into the guest."""
        from vclaw.hypervisor.qemu import forwards as network

        network.change(paths.qmp, forwards)

    def find(self, paths: ClawPaths) -> Process | None:
        """Whoever listens on one of the claw's sockets and was told to in just these words."""
        from vclaw.hypervisor import peer

        # What runs behind the wall could put anything in the sockets' place, a link to another
        # program's among that, but it writes no other program's command line.
        own = command_line.monitor("status", paths.qmp_status)[1]
        # A monitor that hangs takes few connections; then the next socket is asked.
        for socket in paths.machine_sockets:
            process = peer.listener(socket)
            if process is not None and own in process.argv:
                return process
        return None

    def state(self, paths: ClawPaths) -> str:
        """`running`, `paused`, or `unknown`."""
        try:
            status = qmp.execute(paths.qmp_status, "query-status", timeout=STATUS_SECONDS)["status"]
        except (VclawError, KeyError, TypeError):
            return "unknown"
        return STATES.get(status, str(status))

    def pause(self, paths: ClawPaths) -> None:
        """Stop the virtual CPUs."""
        qmp.execute(paths.qmp, "stop")

    def resume(self, paths: ClawPaths) -> None:
        """Let the virtual CPUs go on."""
        qmp.execute(paths.qmp, "cont")

    def save(self, paths: ClawPaths, target: IO[bytes], *, memory: bool) -> None:
        """Write the state of a paused guest to a file."""
        from vclaw.hypervisor.qemu import snapshot

        snapshot.save(paths.qmp, target, memory=memory)

    def load(self, paths: ClawPaths, source: int, *, memory: bool) -> None:
        """Load such a state."""
        from vclaw.hypervisor.qemu import snapshot

        snapshot.load(paths.qmp, source, memory=memory)

    def press_power_button(self, paths: ClawPaths) -> None:
        """Ask the guest to shut down."""
        qmp.execute(paths.qmp, "system_powerdown")

    def quit(self, paths: ClawPaths) -> None:
        """End QEMU, which flushes its disks first."""
        qmp.execute(paths.qmp, "quit")


def _arm_firmware() -> Path:
    for name in ARM_FIRMWARE:
        if Path(name).is_file():
            return Path(name)
    raise VclawError(
        "This image boots by UEFI, and no UEFI firmware for arm64 was found.",
        "On Debian or Ubuntu: sudo apt-get install qemu-efi-aarch64.",
    )
