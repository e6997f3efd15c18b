"""Which claw a command means that works inside a guest: one that is there and runs."""

from __future__ import annotations

from vclaw import boot, hypervisor
from vclaw.claws import glance, record
from vclaw.claws.glance import Brief
from vclaw.home import Home
from vclaw.paths import ClawPaths

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from vclaw.model import ClawSpec


def running(home: Home, name: str) -> tuple[ClawPaths, Brief | ClawSpec]:
    """The files of a claw whose guest can be asked for something now, and how to reach it.

    Raises UsageError that names the command which helps: there is no such claw, it is stopped,
    or it is suspended.
    """
    paths = record.existing(home, name)
    spec = glance.brief(str(paths.root)) or record.load(paths)
    boot.require_up(paths)
    refuse_suspended(paths)
    return paths, spec


def refuse_suspended(paths: ClawPaths) -> None:
    """Raise UsageError where the claw's guest stands still."""
    # The file alone proves nothing, and the question costs time, so it is asked only then.
    if paths.suspended.exists() and hypervisor.current().state(paths) == "paused":
        raise boot.suspended(paths.root.name)
