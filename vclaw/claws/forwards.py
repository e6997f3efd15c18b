"""The ports that `vclaw port` adds to a claw and takes away, while it runs or not."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from vclaw import boot, fsutil, ports
from vclaw.claws import record
from vclaw.errors import UsageError, VclawError
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.model import ClawSpec, PortForward
from vclaw.paths import ClawPaths


def add(paths: ClawPaths, wanted: Sequence[PortForward]) -> bool:
    """Publish ports as well; returns whether the claw runs, so that they lead into it now.

    Raises UsageError where a host port is taken, VclawError where the hypervisor refuses one;
    then everything is as before.
    """
    with locked(paths.lock, BUSY_SECONDS):
        spec = record.load(paths)
        ports.check_distinct(wanted)
        if boot.is_up(paths):
            # A change that was cut short may have opened one that is not on record.
            boot.forward(paths, replace(boot.machine(paths), forwards=spec.forwards))
        for item in wanted:
            if item.host in {own.host for own in spec.forwards}:
                raise UsageError(
                    f"Port {item.host} of the host is {spec.name}'s already.",
                    f"`vclaw port ls {spec.name}` shows its ports.",
                )
            ports.require_free(item.host)
        return _put(paths, spec, replace(spec, publish=(*spec.publish, *wanted)))


def remove(paths: ClawPaths, hosts: Collection[int]) -> bool:
    """Publish these host ports no more; returns whether the claw runs.

    Raises UsageError where one is not published, and then removes none.
    """
    with locked(paths.lock, BUSY_SECONDS):
        spec = record.load(paths)
        for port in hosts:
            _require_published(spec, port)
        kept = tuple(item for item in spec.publish if item.host not in hosts)
        return _put(paths, spec, replace(spec, publish=kept))


def _require_published(spec: ClawSpec, port: int) -> None:
    for own, use in ((spec.gateway_port, "gateway"), (spec.ssh_port, "SSH")):
        if port == own:
            raise UsageError(
                f"Port {port} is {spec.name}'s {use}, which every claw needs.",
                "Only ports that were published can be removed.",
            )
    if port not in {item.host for item in spec.publish}:
        raise UsageError(
            f"Port {port} of the host does not lead to {spec.name}.",
            f"`vclaw port ls {spec.name}` shows its ports.",
        )


def _put(paths: ClawPaths, old: ClawSpec, new: ClawSpec) -> bool:
    """Change the running machine first, which may refuse, then what the next start reads."""
    machine = boot.machine(paths)
    changed = replace(machine, forwards=new.forwards)
    running = boot.is_up(paths)
    if running:
        try:
            boot.forward(paths, changed)
        except VclawError:
            with contextlib.suppress(VclawError):
                boot.forward(paths, replace(machine, forwards=old.forwards))
            raise
    fsutil.write_if_changed(paths.machine, fsutil.json_bytes(changed.to_json()))
    record.save(paths, new)
    return running
