"""Brings a prepared claw through its pipeline, up to booted or ready."""

from __future__ import annotations

import time

from vclaw import boot, engine, providers, timeline
from vclaw.claws import prepare, record, status
from vclaw.claws.prepare import Prepared
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.paths import Home
from vclaw.progress import Progress
from vclaw.tasks import pipeline
from vclaw.timeline import Stage


def launch(
    home: Home, options: RunOptions, progress: Progress, *, wait: bool, timeout: float
) -> Prepared:
    """Prepare the claw that `options` ask for and run its stages: all, or up to boot.

    `timeout` in seconds is for getting ready. A failure is kept for `vclaw ps`, and a first run
    that was refused leaves nothing.
    """
    began = time.time()
    record.sweep(home)
    prepared = prepare.prepare(home, options, progress)
    took = [Stage("prepare", began, time.time())]
    spec, paths = prepared.spec, prepared.paths
    stages = pipeline(home, spec, progress, timeout)
    if not providers.of_claw(paths, spec):
        progress.say(providers.missing(spec.name))
    goal = f"{'ready' if wait else 'boot'}:{spec.name}"
    with locked(paths.lock, BUSY_SECONDS):
        running = boot.is_up(paths)
        if not running:
            boot.forget(paths.last_error)
        try:
            try:
                engine.run(stages, goal, paths.doit_db, progress, took.append)
            finally:
                kept = timeline.keep(paths, took, running=running)
        except UsageError:
            prepare.discard(prepared)
            raise
        except VclawError as error:
            status.record_error(paths, error)
            raise
    if kept is not None:
        progress.say(f"time: {timeline.line(kept)}")
    return prepared
