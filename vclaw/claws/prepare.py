"""From a decided claw to its files: claw.json, secrets, guest.json, machine.json."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vclaw import (
    boot,
    certificates,
    config,
    crashpoints,
    fsutil,
    hypervisor,
    identity,
    runtime,
    seed,
)
from vclaw.claws import access, permissions, record, saved
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.hypervisor.machine import Machine, Share
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.model import OPEN, ClawSpec, ImageRef
from vclaw.paths import ClawPaths
from vclaw.progress import Progress


@dataclass(frozen=True)
class Prepared:
    """A claw whose files are written; `fresh` where it did not exist before.

    `made_state` is its state folder outside of it, where that did not exist before either.
    """

    spec: ClawSpec
    paths: ClawPaths
    fresh: bool
    made_state: Path | None = None


def prepare(home: Home, options: RunOptions, progress: Progress) -> Prepared:
    """Decide the claw that `options` ask for and write its files, where they changed.

    Raises UsageError before anything is made where it cannot be, and where the claw runs with
    other settings than these.
    """
    chooser = _chooser(home, progress)
    wish = _wish(home, options, chooser, lambda _: None)
    spec = wish.spec
    env = config.environment(options)
    extra_ca = certificates.extra(options.ca_cert)
    accelerator = hypervisor.current().accelerator(home, spec.image.arch, spec.cpus)
    _check_host(home, spec, wish.existing)
    if not wish.running:
        _check_state(home, spec, others(home, spec.name))
        _check_wall(spec, accelerator.name, progress)
        if accelerator.reason:
            progress.say(accelerator.reason)
    paths = home.claw(spec.name)
    fsutil.make_folder(home.instances, 0o700)
    fsutil.make_folder(home.ports_lock.parent)
    fsutil.make_folder(paths.root, 0o700)
    crashpoints.reach("claw.folder")
    with locked(paths.lock, BUSY_SECONDS), locked(home.ports_lock):
        prepared = Prepared(spec, paths, fresh=not paths.spec.exists())
        try:
            # Another command may have made or changed this claw meanwhile, or taken a port.
            wish = _wish(home, options, chooser, progress.say)
            state = wish.spec.state
            made_state = state if state is not None and not state.exists() else None
            prepared = replace(prepared, spec=wish.spec, made_state=made_state)
            if wish.running:
                _require_same(paths, wish.existing, wish.spec, env)
            else:
                _settle(home, paths, wish.spec, progress)
                write(home, paths, wish.spec, env, accelerator.name, extra_ca)
        except UsageError:
            discard(prepared)
            raise
    crashpoints.reach("claw.described")
    return prepared


def _settle(home: Home, paths: ClawPaths, spec: ClawSpec, progress: Progress) -> None:
    """Look once more, under the claw's lock, at what a start depends on."""
    _check_state(home, spec, others(home, spec.name))
    for path in permissions.close(paths):
        progress.say(f"{path} was open to other users of this host; it is closed now")
    _own_state(paths, spec, progress)
    _warn_of_memory(spec, progress)
    boot.make_folders(paths)


def _own_state(paths: ClawPaths, spec: ClawSpec, progress: Progress) -> None:
    """See to it that QEMU, who is the workspace's owner, can write what is in the state.

    It cannot where an earlier run was root's and without the wall, or the workspace has got
    another owner since. A folder outside of the claw is the user's, and only told of.
    """
    state, (uid, gid) = paths.state_of(spec), workspace_owner(spec)
    if not state.is_dir() or not permissions.mixed(state, uid):
        return
    if os.geteuid() == 0 and spec.state is None:
        permissions.give(state, uid, gid)
        progress.say(f"some of {state} belonged to another user; all of it is uid {uid}'s now")
    else:
        progress.say(
            f"some of {state} belongs to another user, and OpenClaw, which works as uid {uid}, may "
            f"fail to write it; this helps: sudo chown -R {uid} {shlex.quote(str(state))}"
        )


def _chooser(home: Home, progress: Progress) -> config.Chooser:
    """Answers that take time, each found once."""
    return config.Chooser(
        image=functools.cache(lambda text: _image(home, text, progress)),
        openclaw=functools.cache(
            lambda text: runtime.resolve(text or runtime.DEFAULT_VERSION, home)
        ),
    )


@dataclass(frozen=True)
class _Wish:
    """What is asked for, by what there is now."""

    spec: ClawSpec
    existing: ClawSpec | None
    running: bool


def _wish(
    home: Home, options: RunOptions, chooser: config.Chooser, say: Callable[[str], None]
) -> _Wish:
    name = config.claw_name(options)
    paths = home.claw(name)
    existing = _existing(paths)
    if existing is None and not options.may_make:
        raise UsageError(
            f"{name} was removed by another process just now.", "`vclaw ps` lists the claws."
        )
    saved.refuse(paths)
    running = existing is not None and boot.is_up(paths)
    if running:
        access.refuse_suspended(paths)
    spec = config.decide(options, home, chooser, existing, others(home, name), say, running=running)
    return _Wish(spec, existing, running)


def write(
    home: Home,
    paths: ClawPaths,
    spec: ClawSpec,
    env: Mapping[str, str],
    accelerator: str,
    extra_ca: str,
) -> None:
    """Write what the stages depend on; files whose content is the same stay untouched."""
    owner = workspace_owner(spec)
    _make_state(paths, spec, owner)
    who = identity.ensure(paths, env)
    guest = seed.guest_settings(spec, who, owner=owner, emulated=accelerator == "tcg", ca=extra_ca)
    fsutil.write_if_changed(paths.guest, fsutil.json_bytes(guest), 0o600)
    machine = machine_of(home, paths, spec, accelerator)
    fsutil.write_if_changed(paths.machine, fsutil.json_bytes(machine.to_json()))
    record.save(paths, spec)


def machine_of(home: Home, paths: ClawPaths, spec: ClawSpec, accelerator: str) -> Machine:
    """What the hypervisor is told of this claw; pure."""
    return Machine(
        name=spec.name,
        arch=spec.image.arch,
        accelerator=accelerator,
        cpus=spec.cpus,
        memory_mib=spec.memory_mib,
        runtime=home.runtime(runtime.key(spec.openclaw_version, spec.image.arch)).disk,
        forwards=spec.forwards,
        shares=(
            Share("state", paths.state_of(spec)),
            Share("workspace", spec.workspace, spec.read_only_workspace),
        ),
        network=spec.network,
        allow_host_port=spec.host_ports,
    )


def _make_state(paths: ClawPaths, spec: ClawSpec, owner: tuple[int, int]) -> None:
    """Make OpenClaw's state folder where it is missing; the claw's own follows its workspace."""
    state = paths.state_of(spec)
    made = not state.exists()
    fsutil.make_folder(state, 0o700)
    if os.geteuid() == 0 and (made or spec.state is None):
        os.chown(state, *owner, follow_symlinks=False)


def workspace_owner(spec: ClawSpec) -> tuple[int, int]:
    """uid and gid that the guest's user gets, so that a file has one owner on both sides.

    The hypervisor works as the invoking user, and only root can give files to somebody else.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    stat = spec.workspace.stat()
    return stat.st_uid, stat.st_gid


def _existing(paths: ClawPaths) -> ClawSpec | None:
    if not paths.spec.exists():
        return None
    try:
        return record.load(paths)
    except VclawError as error:
        name = paths.root.name
        raise UsageError(
            f"There is a claw {name} already, and it is broken: {error.message}",
            f"Choose another --name, or remove that claw: vclaw rm {name}",
        ) from None


def others(home: Home, name: str) -> list[ClawSpec]:
    """What every claw but this one was asked to be; a broken one is left out."""
    found = []
    for other in record.names(home):
        if other != name:
            try:
                found.append(record.load(home.claw(other)))
            except VclawError:
                continue  # a broken claw holds no port
    return found


def _image(home: Home, text: str | None, progress: Progress) -> ImageRef:
    from vclaw.images import default, refs

    if text is not None:
        return refs.parse(text, home=home)
    ref, why = default.choose(home)
    progress.say(f"image {ref.name}: {why}")
    return ref


def _check_host(home: Home, spec: ClawSpec, existing: ClawSpec | None) -> None:
    """Find out what is missing on this host before anything is made."""
    if existing is not None:
        return
    from vclaw.images import debian, store

    if spec.image.distro == "debian" and store.load(home, spec.image) is None:
        debian.check(spec.image)


def _check_wall(spec: ClawSpec, accelerator: str, progress: Progress) -> None:
    """Find out whether this host can close what is to be closed; raises UsageError."""
    if spec.network == OPEN:
        progress.say("--network open: the guest reaches all that this host reaches")
        return
    from vclaw.wall import mechanism, network

    user = mechanism.user(spec.workspace, accelerator)
    mechanism.require(spec.network, spec.host_ports, user)
    if network.needs_pasta(spec.network, spec.host_ports) and not mechanism.routed():
        progress.say(
            "this host has no route to the internet; the guest gets no network before the claw "
            "is started again"
        )


def _check_state(home: Home, spec: ClawSpec, others: Sequence[ClawSpec]) -> None:
    """Raise UsageError where the state folder outside the claw cannot be this claw's now."""
    if spec.state is None:
        return
    for other in others:
        theirs = home.claw(other.name).state_of(other)
        if config.overlap(spec.state, theirs) and boot.is_up(home.claw(other.name)):
            raise UsageError(
                f"The state folder {spec.state} is in use by the claw {other.name}.",
                f"Stop that one first: vclaw stop {other.name}",
            )
    if not spec.state.exists():
        return
    uid = workspace_owner(spec)[0]
    if spec.state.stat().st_uid != uid:
        raise UsageError(
            f"The state folder {spec.state} belongs to uid {spec.state.stat().st_uid}, and "
            f"OpenClaw works as the workspace's owner, uid {uid}.",
            f"Give it to that user: chown -R {uid} {shlex.quote(str(spec.state))}",
        )


def _require_same(
    paths: ClawPaths, existing: ClawSpec | None, spec: ClawSpec, env: Mapping[str, str]
) -> None:
    stored = identity.load(paths).env
    if spec == existing and all(stored.get(key) == value for key, value in env.items()):
        return
    raise UsageError(
        f"{spec.name} is running with other settings.",
        f"`vclaw env {spec.name} set` and `vclaw port add {spec.name}` change variables and ports "
        f"while it runs; for all else `vclaw stop {spec.name}` first, then run it again.",
    )


def _warn_of_memory(spec: ClawSpec, progress: Progress) -> None:
    import psutil

    available = psutil.virtual_memory().available // 2**20
    if spec.memory_mib > available:
        progress.say(
            f"the claw may use {spec.memory_mib} MiB of memory, and this host has "
            f"{available} MiB to give"
        )


def discard(prepared: Prepared) -> None:
    """Remove a claw that never got a disk, after its first run was refused.

    Where another command works on it by now it is that one's.
    """
    if not prepared.fresh:
        return
    with contextlib.suppress(VclawError), locked(prepared.paths.lock, 0):
        if not prepared.paths.disk_meta.exists():
            fsutil.remove_tree(record.withdraw(prepared.paths))
            if prepared.made_state is not None:
                with contextlib.suppress(OSError):  # a guest has written to it: then it stays
                    prepared.made_state.rmdir()
