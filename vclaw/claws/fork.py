"""Fork: a claw's twins, each with an identity of its own and a copy of its disk and its state.

Of a claw that runs, or is suspended to the disk, a twin goes on from the same saved memory; of a
stopped one it boots. What it is told then by its own seed disk makes another guest of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vclaw import boot, config, crashpoints, disk, fsutil, hypervisor, identity, ports, schema, seed
from vclaw.claws import launch, lifecycle, prepare, record, saved, todisk
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, TemplatePaths
from vclaw.hypervisor.machine import Machine, Share
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.model import ClawSpec, PortForward
from vclaw.paths import ClawPaths, check_socket_length
from vclaw.progress import Progress
from vclaw.templates import store

NAME_LENGTH = 40
"""As `config.NAME` has it."""


@dataclass(frozen=True)
class Wish:
    """What was asked for; `workspace` is None where the twins work in the same folder."""

    count: int = 1
    name: str | None = None
    workspace: str | None = None


def fork(home: Home, paths: ClawPaths, wish: Wish, progress: Progress) -> list[ClawPaths]:
    """Make a claw's twins, which do not run yet; the claw itself is afterwards as it was.

    But for its OpenClaw, which is started anew where it ran. Raises UsageError before anything
    is made where that cannot be.
    """
    spec = record.load(paths)
    twins = [home.claw(name) for name in names(home, spec.name, wish)]
    folder = _workspace(home, spec, wish.workspace)
    with locked(paths.lock, BUSY_SECONDS):
        if not disk.is_whole(paths):
            raise UsageError(f"{spec.name} has no disk yet.", f"`vclaw start {spec.name}` first.")
        with _still(paths, progress):
            made: list[ClawPaths] = []
            try:
                for twin in twins:
                    made.append(twin)
                    _make(home, paths, replace(spec, workspace=folder), twin, progress)
            except BaseException:
                for twin in made:
                    _discard(twin)
                raise
    return twins


def start(home: Home, twin: ClawPaths, progress: Progress) -> None:
    """Let a twin begin: from memory, or where that cannot be from its disk."""
    if saved.is_there(twin):
        lifecycle.resume(twin, todisk.REGAIN_SECONDS, progress, wait=False)
        return
    launch.launch(home, config.again(record.load(twin)), progress, wait=False, timeout=1.0)


def names(home: Home, source: str, wish: Wish) -> list[str]:
    """The twins' names: NAME, NAME-1 … NAME-N, or the next free ones of ID-2, ID-3 …

    Raises UsageError where one cannot be had.
    """
    known = set(record.names(home))
    if wish.name is None:
        found: list[str] = []
        number = 2
        while len(found) < wish.count:
            end = f"-{number}"
            name = source[: NAME_LENGTH - len(end)].rstrip("-") + end
            found += [name] if name not in known else []
            number += 1
    elif wish.count == 1:
        found = [wish.name]
    else:
        found = [f"{wish.name}-{number}" for number in range(1, wish.count + 1)]
    for name in found:
        config.claw_name(RunOptions(name=name))
        check_socket_length(home.claw(name))
        if name in known:
            raise UsageError(f"There is a claw {name} already.", "Choose another --name.")
    return found


def _workspace(home: Home, spec: ClawSpec, text: str | None) -> Path:
    """The twins' folder; raises UsageError where the guest's user would be another in it."""
    if text is None:
        return spec.workspace
    folder = config.workspace(text)
    config.check_outside(folder, home)
    owner = prepare.workspace_owner(replace(spec, workspace=folder))
    if owner != prepare.workspace_owner(spec):
        raise UsageError(
            f"The workspace {folder} belongs to uid {owner[0]}, and that of {spec.name} to uid "
            f"{prepare.workspace_owner(spec)[0]}.",
            "A twin's files belong to whom its claw's do: give the folder to that user.",
        )
    return folder


@contextlib.contextmanager
def _still(paths: ClawPaths, progress: Progress) -> Iterator[None]:
    """Hold a claw still, its memory saved where it ran; afterwards it goes on.

    Cut off here by force it is suspended to the disk.
    """
    if saved.is_there(paths):
        saved.end_rest(paths)
        yield
        return
    if not boot.is_up(paths):
        yield
        return
    lifecycle.settle_guest(paths)
    todisk.let_go(paths, lifecycle.quiesce(paths, progress), progress)
    try:
        todisk.freeze(paths, paths.root.name)
        yield
    except BaseException:
        todisk.take_back(paths)
        raise
    todisk.go_on(paths)
    progress.say(f"{paths.root.name} goes on, and starts its OpenClaw anew")


def _make(home: Home, source: ClawPaths, spec: ClawSpec, twin: ClawPaths, say: Progress) -> None:
    """Make one twin of a claw that stands still; claw.json is written last."""
    say.say(f"copying the disk and the state of {source.root.name} for {twin.root.name}")
    fsutil.make_folder(twin.root, 0o700)
    with locked(twin.lock, BUSY_SECONDS):
        boot.make_folders(twin)
        _copy_disk(home, source, twin, say)
        copy_tree(source.state_of(record.load(source)), twin.state)
        kept = saved.load(source)
        if kept is not None:
            os.link(source.memory, twin.memory)
            saved.save(twin, kept)
        crashpoints.reach("fork.copied")
        _describe(home, source, spec, twin, say)
    crashpoints.reach("fork.described")


def _copy_disk(home: Home, source: ClawPaths, twin: ClawPaths, progress: Progress) -> None:
    made = disk.load(source.disk_meta)
    assert made is not None  # `fork` has looked
    with contextlib.ExitStack() as stack:
        if made.base:
            template = TemplatePaths(Path(made.base))
            stack.enter_context(store.steady(home, template.root.name))
            store.note_user(template, twin)
        with fsutil.replacing(twin.disk, mode=0o600) as target:
            disk.copy(source.disk, target, progress)
        disk.copy_boot_files(source, twin, sync=True)
        fsutil.write_json(twin.disk_meta, schema.to_json(replace(made, unsynced=""), disk.STEPS))


def _describe(
    home: Home, source: ClawPaths, spec: ClawSpec, twin: ClawPaths, progress: Progress
) -> None:
    """Write who the twin is: its own keys, ports and machine-id, the claw's variables."""
    env = identity.load(source).env
    extra_ca = str(fsutil.read_json(source.guest)["ca"])
    told = boot.machine(source)
    fsutil.make_folder(home.ports_lock.parent)
    with locked(home.ports_lock):
        spec = with_ports(
            replace(spec, name=twin.root.name, state=None, port_fixed=False),
            prepare.others(home, twin.root.name),
            progress,
        )
        who = identity.ensure(twin, env)
        identity.save(twin, replace(who, machine_id=secrets.token_hex(16)))
        prepare.write(home, twin, spec, {}, told.accelerator, extra_ca)
        fsutil.write_json(twin.machine, machine_of(told, spec, twin).to_json())
    seed.build(twin.guest, twin.seed)


def machine_of(told: Machine, spec: ClawSpec, twin: ClawPaths) -> Machine:
    """The claw's machine with the twin's name, ports and folders; pure."""
    folders = {"state": twin.state, "workspace": spec.workspace}
    shares = tuple(Share(old.tag, folders[old.tag], old.readonly) for old in told.shares)
    return replace(told, name=spec.name, forwards=spec.forwards, shares=shares)


def with_ports(spec: ClawSpec, others: Sequence[ClawSpec], progress: Progress) -> ClawSpec:
    """The spec with the next free ports of the host; each published one that moves is told."""
    taken = {forward.host for other in others for forward in other.forwards}
    publish: list[PortForward] = []
    for old in spec.publish:
        new = PortForward(ports.next_free(old.host, taken), old.guest)
        taken.add(new.host)
        publish.append(new)
        progress.say(f"{spec.name}: 127.0.0.1:{new.host} leads to its port {new.guest}")
    return config.choose_ports(replace(spec, publish=tuple(publish)), None, others, progress.say)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder that a guest wrote: links stay links, owners stay, sockets are left out."""

    def special(folder: str, entries: list[str]) -> list[str]:
        modes = ((entry, (Path(folder) / entry).lstat().st_mode) for entry in entries)
        return [
            entry
            for entry, mode in modes
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
        ]

    try:
        shutil.copytree(source, target, symlinks=True, ignore=special, dirs_exist_ok=True)
        if os.geteuid() == 0:
            for old in (source, *source.rglob("*")):
                new = target / old.relative_to(source)
                if os.path.lexists(new):
                    owner = old.lstat()
                    os.chown(new, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except shutil.Error as error:
        raise VclawError(f"{source} could not be copied: {error.args[0][0][2]}.") from None


def _discard(twin: ClawPaths) -> None:
    """Remove a twin that never began."""
    with contextlib.suppress(OSError, VclawError):
        if twin.root.is_dir():
            fsutil.remove_tree(record.withdraw(twin))


def is_up(paths: ClawPaths) -> bool:
    """Whether a claw's guest runs, so that its OpenClaw is to be waited for."""
    return boot.is_up(paths) and hypervisor.current().state(paths) == "running"
