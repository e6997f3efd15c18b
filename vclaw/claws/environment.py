"""A claw's variables: changed in its files, and in its guest where that runs.

A running guest's seed disk cannot change under it, so the guest agent is told the new variables
and restarts the gateway alone. guest.json and the seed say the same for the next boot; the
generation that the guest reports from then on is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vclaw import boot, channel, fsutil, identity, readiness, seed
from vclaw.claws import access, record, status
from vclaw.errors import UsageError, VclawError
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.paths import ClawPaths
from vclaw.progress import Progress

ANSWER_SECONDS = 15.0
"""What a guest is given to say what it works with; an emulated one may be busy."""


def laid(env: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """`wanted` laid over `env`; None removes a variable."""
    return {name: value for name, value in {**env, **wanted}.items() if value is not None}


def change(
    paths: ClawPaths, wanted: Mapping[str, str | None], progress: Progress, timeout: float | None
) -> bool:
    """Set variables, or remove those whose value is None; returns whether anything was to do.

    A running claw's gateway is restarted, and `timeout` seconds are for getting ready again;
    with None nothing is waited for. Raises UsageError or VclawError before anything is changed
    where the guest cannot be told now.
    """
    with locked(paths.lock, BUSY_SECONDS):
        who = identity.load(paths)
        env = laid(who.env, wanted)
        guest = seed.with_env(fsutil.read_json(paths.guest), env)
        running, new = boot.is_up(paths), env != who.env
        stale = running and _applied(paths) != guest["generation"]
        if new:
            _store(paths, replace(who, env=env), guest)
        if stale:
            progress.say("restarting OpenClaw with the new variables")
            _tell(paths, guest)
    if new and not running:
        progress.say("stored; the claw is not running and gets it at its next start")
    if stale and timeout is not None:
        # Without the lock: another command may have reason to work on the claw meanwhile.
        _wait(paths, timeout, progress)
    return new or stale


def _applied(paths: ClawPaths) -> str:
    """The generation that a running guest works with, once it can be told another one."""
    name = paths.root.name
    access.refuse_suspended(paths)
    report = channel.ask(paths.channel, "status", ANSWER_SECONDS)
    if not report.get("applied"):
        raise VclawError(
            f"{name} is still booting, and nothing was changed.",
            "Wait until `vclaw ps` calls it ready, then run this again.",
        )
    if readiness.RENEW not in report.get("ops", ()):
        raise UsageError(
            f"{name} was booted by an older vclaw, and cannot take variables while it runs.",
            f"`vclaw stop {name}`, run this again, then `vclaw start {name}`.",
        )
    return str(report["applied"])


def _store(paths: ClawPaths, who: identity.Identity, guest: Mapping[str, Any]) -> None:
    identity.save(paths, who)
    fsutil.write_if_changed(paths.guest, fsutil.json_bytes(guest), 0o600)
    if paths.seed.exists():  # at once, so that a removed secret is in no file any more
        seed.build(paths.guest, paths.seed)


def _tell(paths: ClawPaths, guest: Mapping[str, Any]) -> None:
    boot.forget(paths.ready)  # what was ready ends now
    try:
        readiness.renew(paths, guest)
    except VclawError as error:
        raise VclawError(
            f"The variables are stored, and the guest did not take them: {error.message}",
            "Run the same again, or `vclaw stop` and `vclaw start` the claw.",
        ) from None


def _wait(paths: ClawPaths, timeout: float, progress: Progress) -> None:
    try:
        readiness.wait(paths, record.load(paths).gateway_port, timeout, progress)
    except VclawError as error:
        if boot.is_up(paths):  # somebody may have stopped it meanwhile, which is no failure
            status.record_error(paths, error)
        raise
