"""What a hypervisor must be able to do, and the one that this host uses."""

from __future__ import annotations

import abc

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import IO

    from vclaw.home import Home
    from vclaw.hypervisor.child import Child
    from vclaw.hypervisor.machine import Accelerator, Machine, Memory, RootDisk
    from vclaw.hypervisor.process import Process
    from vclaw.model import PortForward
    from vclaw.paths import ClawPaths

    Spawn = Callable[[list[str], IO[bytes]], Child]


class Hypervisor(abc.ABC):
    """One virtual machine monitor. A claw is known to it by its paths alone."""

    @abc.abstractmethod
    def accelerator(self, home: Home, arch: str, cpus: int) -> Accelerator:
        """How guests of `arch` run here: by hardware where it was tried and works.

        Raises UsageError where the hypervisor is not installed.
        """

    @abc.abstractmethod
    def argv(
        self, machine: Machine, root: RootDisk, paths: ClawPaths, memory: Memory | None = None
    ) -> list[str]:
        """The command line that starts `machine`; pure.

        With a `memory` that is not kept the machine waits for the state to `load`.
        """

    @abc.abstractmethod
    def memory_of(self, argv: Sequence[str]) -> Memory | None:
        """The memory that a command line of `argv` names; pure."""

    @abc.abstractmethod
    def fingerprint(self, machine: Machine) -> str:
        """What a saved guest of such a machine depends on beside its disks, as text.

        It is another after a change of the hypervisor, of its version, or of the processor
        where the guest runs on that itself.
        """

    @abc.abstractmethod
    def start(
        self, argv: list[str], paths: ClawPaths, spawn: Spawn, started: Callable[[Process], None]
    ) -> None:
        """Start it, with no port forwarded yet, and return once the monitor answers.

        `spawn` makes the process of a command line, with a file for its output. `started` is
        called with that process before it begins to be the machine: a machine that runs is
        known, whatever ends this process meanwhile.
        Raises VclawError with the end of its own output where it ends at once.
        """

    @abc.abstractmethod
    def forward(self, paths: ClawPaths, forwards: Collection[PortForward]) -> None:
        """Let exactly these ports of the host's loopback lead into the running guest.

        Those that do already keep their connections. Raises VclawError where one cannot be had;
        which of the others lead there then is not said.
        """

    @abc.abstractmethod
    def find(self, paths: ClawPaths) -> Process | None:
        """The claw's running machine, found without any record of it; None where none is found.

        Never another process than that: whoever asks may end it.
        """

    @abc.abstractmethod
    def state(self, paths: ClawPaths) -> str:
        """What the virtual CPUs do: `running`, `paused`, or `unknown` where nothing answers."""

    @abc.abstractmethod
    def pause(self, paths: ClawPaths) -> None:
        """Stop the virtual CPUs; memory stays."""

    @abc.abstractmethod
    def resume(self, paths: ClawPaths) -> None:
        """Let the virtual CPUs go on."""

    @abc.abstractmethod
    def save(self, paths: ClawPaths, target: IO[bytes], *, memory: bool) -> None:
        """Write the state of a paused guest's devices to a file, its memory too where asked.

        Without it the guest's memory must be kept in a file. No shared folder may be mounted in
        the guest. Raises VclawError where it cannot be saved; the guest can go on then.
        """

    @abc.abstractmethod
    def load(self, paths: ClawPaths, source: int, *, memory: bool) -> None:
        """Give a machine that was started with a saved memory the devices' state of that.

        `source` is a file descriptor that it inherited. The guest is paused then. With `memory`
        the state holds the memory as well. Raises VclawError where the state is not its own.
        """

    @abc.abstractmethod
    def press_power_button(self, paths: ClawPaths) -> None:
        """Ask the guest to shut down, as the ACPI power button does."""

    @abc.abstractmethod
    def quit(self, paths: ClawPaths) -> None:
        """End the process at once, after it has flushed its disks."""


def current() -> Hypervisor:
    """The hypervisor of this host. QEMU everywhere today."""
    from vclaw.hypervisor.qemu import Qemu

    return Qemu()
