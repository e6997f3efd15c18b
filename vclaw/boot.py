"""The boot stage: machine.json, disk.json and seed.iso in, a running virtual machine out.

`vclaw ps` asks here what runs, so what only a boot needs is imported where it boots.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vclaw import crashpoints, fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.hypervisor.process import Process
from vclaw.lock import locked
from vclaw.paths import ClawPaths

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from vclaw.hypervisor import Spawn
    from vclaw.hypervisor.machine import Machine, Memory, RootDisk
    from vclaw.progress import Progress

CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
"""The kernel's name of the serial console on each machine."""


def ensure(paths: ClawPaths, progress: Progress) -> None:
    """Start the claw's virtual machine, unless it runs with these very settings.

    Its ports can change while it runs, so they are no part of these: they are made right.
    Raises UsageError where it runs with others, VclawError where it does not start.
    """
    from vclaw.templates import clone

    with locked(paths.lock):
        _give_up_saved(paths, progress)
        told = machine(paths)
        running = current(paths)
        if running is not None and clone.nobodys(paths):  # its start was cut off
            running.end(patience=0.0)
            running = None
        if running is None:
            refuse_unrecorded(paths)
            check_workspace(told)
            _start(paths, told, progress)
        elif _has_settings(running, paths, told):
            from vclaw import disk

            disk.settle(paths)
            forward(paths, told)
        else:
            name = paths.root.name
            raise UsageError(
                f"{name} is running with other settings.",
                f"`vclaw stop {name}` first, then run it again.",
            )


def _give_up_saved(paths: ClawPaths, progress: Progress) -> None:
    """Drop a saved guest that cannot go on; raises UsageError where it can."""
    if not paths.saved.exists():
        return
    from vclaw.claws import saved

    saved.refuse(paths)
    progress.say(f"its saved memory is given up: {saved.problem(paths)}")
    saved.end_rest(paths)
    saved.drop(paths)
    forget(paths.suspended)


def _has_settings(running: Process, paths: ClawPaths, told: Machine) -> bool:
    """Whether a process runs with the command line that it would be given now."""
    from vclaw import hypervisor

    memory = hypervisor.current().memory_of(running.argv)
    return list(running.argv) == command(paths, told, memory)


def _start(paths: ClawPaths, told: Machine, progress: Progress) -> None:
    from vclaw import disk
    from vclaw.claws import installed
    from vclaw.templates import clone

    make_folders(paths)
    forget(paths.ready, paths.suspended)
    installed.save(paths, told.runtime)
    fresh = clone.step(paths) == clone.FRESH
    try:
        with state_held(paths, told) as held:
            if fresh and _went_on(paths, told, held, progress):
                return
            # From here on the saved guest would meet a disk that it does not know.
            forget(paths.clone)
            launch(paths, told, held)
        forward(paths, told)
    except VclawError:
        # Nobody could reach it: better none than one without its ports.
        _end(paths)
        raise
    finally:
        # Interrupted or not, from here on a guest may use this disk: it is no fresh copy.
        disk.settle(paths)


def _went_on(paths: ClawPaths, told: Machine, held: Sequence[int], progress: Progress) -> bool:
    """Let the template's guest go on as this claw's; False where that cannot be, which is said.

    Raises VclawError where its ports cannot be had, which a boot would not have either.
    """
    from vclaw import disk, hypervisor
    from vclaw.home import TemplatePaths
    from vclaw.templates import clone

    made = disk.load(paths.disk_meta)
    assert made is not None  # the disk stage comes first
    with contextlib.ExitStack() as open_files:
        try:
            template = TemplatePaths(Path(made.base))
            saved = open_files.enter_context(clone.opened(paths, template))
            launch(paths, told, (*held, saved.memory_fd, saved.device_fd), saved.memory)
            hypervisor.current().load(paths, saved.device_fd, memory=False)
            crashpoints.reach("clone.loaded")
        except UsageError:
            raise
        except VclawError as error:
            return _gave_up(paths, error, progress)
        forward(paths, told)  # else the guest stays as it is saved, and serves the next start
        try:
            clone.let_go(paths, saved)
        except VclawError as error:
            return _gave_up(paths, error, progress)
    return True


def _gave_up(paths: ClawPaths, error: VclawError, progress: Progress) -> bool:
    """Say why the saved guest cannot go on, and end it; False, as `_went_on` tells it."""
    progress.say(f"the template does not serve: {error.message} The claw boots by itself.")
    _end(paths)
    return False


def launch(
    paths: ClawPaths, told: Machine, held: Sequence[int], memory: Memory | None = None
) -> None:
    """Start the hypervisor, which inherits the descriptors `held`, and record its process."""
    from vclaw import hypervisor

    argv = command(paths, told, memory)
    spawn = _spawner(paths, told, held)
    hypervisor.current().start(argv, paths, spawn, lambda process: _record(paths, process))


def _end(paths: ClawPaths) -> None:
    process = current(paths)
    if process is not None:
        process.end()


def machine(paths: ClawPaths) -> Machine:
    """machine.json; raises VclawError where it is damaged."""
    from vclaw.hypervisor.machine import Machine

    try:
        return Machine.from_json(fsutil.read_json(paths.machine))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VclawError(
            f"{paths.machine} is damaged: {error!r}.",
            f"`vclaw start {paths.root.name}` writes it anew.",
        ) from None


def command(paths: ClawPaths, machine: Machine, memory: Memory | None = None) -> list[str]:
    """The command line for this claw as its files describe it, the wall's words first."""
    from vclaw import hypervisor
    from vclaw.model import OPEN

    root = root_disk(paths, machine)
    argv = hypervisor.current().argv(machine, root, paths, memory)
    if machine.network == OPEN:
        return argv
    from vclaw.wall import start

    return start.argv(machine, root, paths, argv, memory)


def _spawner(paths: ClawPaths, machine: Machine, held: Sequence[int]) -> Spawn:
    """What makes a process of that command line, which inherits the descriptors `held`."""
    from vclaw.model import OPEN

    if machine.network == OPEN:
        from vclaw.hypervisor.child import Bare

        return lambda argv, log: Bare(argv, log, held)
    from vclaw.wall import start

    return lambda argv, log: start.spawn(machine, paths, argv, log, held)


def forward(paths: ClawPaths, machine: Machine) -> None:
    """Let exactly the machine's ports of the host's loopback lead into its running guest.

    Around a walled one whatever has ended by itself is started again. Raises VclawError where a
    port cannot be had.
    """
    from vclaw import hypervisor
    from vclaw.model import OPEN

    hypervisor.current().forward(paths, machine.forwards)
    process = current(paths)
    if machine.network != OPEN and process is not None:
        from vclaw.wall import start

        start.mend(machine, paths, process)


def check_workspace(machine: Machine) -> None:
    """Raise UsageError where a link has taken the place of the folder that was chosen.

    A workspace may lie in that of another claw, whose guest could lead this one elsewhere.
    """
    for share in machine.shares:
        if share.tag == "workspace" and share.path.resolve() != share.path:
            raise UsageError(
                f"The workspace {share.path} leads to {share.path.resolve()} now.",
                "Put the folder back, or remove the claw and run it for that one.",
            )


@contextlib.contextmanager
def state_held(paths: ClawPaths, machine: Machine) -> Iterator[tuple[int, ...]]:
    """Lock a state folder that lies outside the claw; yields what the hypervisor must inherit.

    The lock is the hypervisor's then, and ends with it, however it ends. Two OpenClaws that write
    one state destroy it. Raises UsageError where another machine holds the folder.
    """
    folder = next(share.path for share in machine.shares if share.tag == "state")
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
    from vclaw.home import TemplatePaths
    from vclaw.hypervisor.machine import DirectBoot, RootDisk

    meta = disk.load(paths.disk_meta)
    if meta is None:
        raise VclawError(
            f"{paths.root.name} has no disk yet.", "`vclaw run` makes it; run that again."
        )
    # A disk that lies over a template's boots with the kernel that is kept there.
    base = TemplatePaths(Path(meta.base)) if meta.base else None
    if base is not None and not base.disk.is_file():
        raise VclawError(
            f"The template {base.root} is gone, and the claw's disk holds only what it changed.",
            f"Put it back, or remove the claw: vclaw rm {paths.root.name}",
        )
    direct = None
    if meta.boot == "kernel":
        cmdline = kernel_cmdline(meta.cmdline, machine)
        kernel, initrd = disk.boot_files(paths, meta)
        direct = DirectBoot(kernel, initrd, cmdline)
    return RootDisk(paths.disk, meta.format, direct, base.disk if base is not None else None)


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
    except (OSError, VclawError, KeyError, TypeError, ValueError):
        return None


def current(paths: ClawPaths) -> Process | None:
    """The claw's running process; None where it does not run."""
    process = last(paths)
    return process if process is not None and process.alive else None


def unrecorded(paths: ClawPaths) -> Process | None:
    """The claw's running process that run.json does not name, damaged as it is; None otherwise."""
    if current(paths) is not None:
        return None
    from vclaw import hypervisor

    found = hypervisor.current().find(paths)
    # A machine that another command has just started is on record before it listens.
    return found if found is not None and found.alive and current(paths) is None else None


def refuse_unrecorded(paths: ClawPaths) -> None:
    """Raise UsageError where the claw runs and vclaw knows too little of it to work with it."""
    process = unrecorded(paths)
    if process is not None:
        name = paths.root.name
        raise UsageError(
            f"{name} runs (process {process.pid}), but {paths.run}, which should say so, is "
            "damaged or gone.",
            f"`vclaw stop {name}` ends it (`--force`: at once); then `vclaw start {name}`.",
        )


def suspended(name: str) -> UsageError:
    """The error for a claw whose guest stands still, in memory or on the disk."""
    return UsageError(f"{name} is suspended.", f"`vclaw resume {name}` lets it go on.")


def require_up(paths: ClawPaths) -> None:
    """Raise UsageError with the command that helps where the virtual machine does not run."""
    if not is_up(paths):
        if paths.saved.exists():
            raise suspended(paths.root.name)
        refuse_unrecorded(paths)
        name = paths.root.name
        raise UsageError(f"{name} is not running.", f"`vclaw start {name}` boots it.")


def is_up(paths: ClawPaths) -> bool:
    """Whether the virtual machine runs and is on record; never raises."""
    return current(paths) is not None


def is_reachable(paths: ClawPaths) -> bool:
    """Whether the virtual machine runs, and nothing around it has ended by itself."""
    if not is_up(paths):
        return False
    from vclaw.model import OPEN
    from vclaw.templates import clone

    if clone.nobodys(paths):
        return False  # its start was cut off
    told = machine(paths)
    if told.network == OPEN:
        return True
    from vclaw.wall import start

    return start.is_whole(told, paths)


def forget(*files: Path) -> None:
    """Remove what described a run that is over."""
    for file in files:
        file.unlink(missing_ok=True)
