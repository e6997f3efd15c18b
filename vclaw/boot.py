"""The boot stage: machine.json, disk.json and seed.iso in, a running virtual machine out.

`vclaw ps` asks here what runs, so what only a boot needs is imported where it boots.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from vclaw import fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.process import Process
from vclaw.lock import locked
from vclaw.paths import ClawPaths

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from vclaw.hypervisor.machine import Machine, RootDisk
    from vclaw.model import PortForward

CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
"""The kernel's name of the serial console on each machine."""


def ensure(paths: ClawPaths) -> None:
    """Start the claw's virtual machine, unless it runs with these very settings.

    Its ports can change while it runs, so they are no part of these: they are made right.
    Raises UsageError where it runs with others, VclawError where it does not start.
    """
    from vclaw import disk, hypervisor
    from vclaw.hypervisor.machine import Machine

    with locked(paths.lock):
        machine = Machine.from_json(fsutil.read_json(paths.machine))
        argv = hypervisor.current().argv(machine, root_disk(paths, machine), paths)
        running = current(paths)
        if running is None:
            _start(paths, argv, machine.forwards)
        elif list(running.argv) == argv:
            disk.settle(paths)
            hypervisor.current().forward(paths, machine.forwards)
        else:
            name = paths.root.name
            raise UsageError(
                f"{name} is running with other settings.",
                f"`vclaw stop {name}` first, then run it again.",
            )


def _start(paths: ClawPaths, argv: list[str], forwards: Collection[PortForward]) -> None:
    from vclaw import disk, hypervisor

    make_folders(paths)
    paths.ready.unlink(missing_ok=True)
    try:
        with state_held(paths) as held:
            hypervisor.current().start(argv, paths, lambda process: _record(paths, process), held)
        hypervisor.current().forward(paths, forwards)
    except VclawError:
        # Nobody could reach it: better none than one without its ports.
        process = current(paths)
        if process is not None:
            process.end()
        raise
    finally:
        # Interrupted or not, from here on a guest may use this disk: it is no fresh copy.
        disk.settle(paths)


@contextlib.contextmanager
def state_held(paths: ClawPaths) -> Iterator[tuple[int, ...]]:
    """Lock a state folder that lies outside the claw; yields what the hypervisor must inherit.

    The lock is the hypervisor's then, and ends with it, however it ends. Two OpenClaws that write
    one state destroy it. Raises UsageError where another machine holds the folder.
    """
    machine = fsutil.read_json(paths.machine)
    folder = next(Path(item["path"]) for item in machine["shares"] if item["tag"] == "state")
    if folder == paths.state:
        yield ()
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"The state folder {folder} is in use by another claw that runs.",
                "`vclaw ps` lists the claws; stop that one first.",
            ) from None
        except OSError:
            pass  # a file system without locks; `claws.prepare` has looked for the same
        yield (fd,)
    finally:
        os.close(fd)


def root_disk(paths: ClawPaths, machine: Machine) -> RootDisk:
    """The claw's own disk as the hypervisor needs to know it."""
    from vclaw import disk
    from vclaw.hypervisor.machine import DirectBoot, RootDisk

    meta = disk.load(paths.disk_meta)
    if meta is None:
        raise VclawError(
            f"{paths.root.name} has no disk yet.", "`vclaw run` makes it; run that again."
        )
    direct = None
    if meta.boot == "kernel":
        cmdline = kernel_cmdline(meta.cmdline, machine)
        direct = DirectBoot(paths.kernel, paths.initrd, cmdline)
    return RootDisk(paths.disk, meta.format, direct)


def kernel_cmdline(root: str, machine: Machine) -> str:
    """The kernel's command line; `root` holds the words that name the root file system."""
    words = [
        root,
        f"console={CONSOLES[machine.arch]}",
        "quiet",
        "systemd.show_status=true",
        "ds=nocloud",
    ]
    if machine.accelerator == "tcg":
        # Two emulated processors disagree on their counters, and Linux then reads a device for
        # the time instead. Nobody attacks an emulated processor's speculation.
        words += ["tsc=reliable", "mitigations=off"]
    return " ".join(words)


def make_folders(paths: ClawPaths) -> None:
    """The folders of a claw that only its owner may enter."""
    for folder in (paths.root, paths.sockets, paths.logs):
        fsutil.make_folder(folder, 0o700)


def _record(paths: ClawPaths, process: Process) -> None:
    fsutil.write_json(paths.run, process.to_json(), 0o600)


def last(paths: ClawPaths) -> Process | None:
    """The process that run.json names, whether it lives or not; None where there is none."""
    try:
        return Process.from_json(fsutil.read_json(paths.run))
    except (FileNotFoundError, VclawError, KeyError, TypeError, ValueError):
        return None


def current(paths: ClawPaths) -> Process | None:
    """The claw's running process; None where it does not run."""
    process = last(paths)
    return process if process is not None and process.alive else None


def is_up(paths: ClawPaths) -> bool:
    """Whether the virtual machine runs; never raises."""
    return current(paths) is not None


def forget(*files: Path) -> None:
    """Remove what described a run that is over."""
    for file in files:
        file.unlink(missing_ok=True)
