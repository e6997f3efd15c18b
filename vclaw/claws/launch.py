"""Brings a prepared claw through its pipeline, up to booted or ready."""

from __future__ import annotations

import time

from vclaw import boot, engine, providers, timeline
from vclaw import runtime as runtimes
from vclaw.claws import prepare, record, status
from vclaw.claws.prepare import Prepared
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.images import store
from vclaw.lock import BUSY_SECONDS, locked
from vclaw.model import ClawSpec
from vclaw.progress import Progress
from vclaw.tasks import image, pipeline
from vclaw.templates import store as templates
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
    templates.sweep(home)
    prepared = prepare.prepare(home, options, progress)
    took = [Stage("prepare", began, time.time())]
    spec, paths = prepared.spec, prepared.paths
    if not providers.of_claw(paths, spec):
        progress.say(providers.missing(spec.name))
    goal = f"{'ready' if wait else 'boot'}:{spec.name}"
    with locked(paths.lock, BUSY_SECONDS):
        running = boot.is_up(paths)
        if not running:
            boot.forget(paths.last_error)
        try:
            try:
                _run(home, spec, goal, progress, timeout, took)
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


def _run(
    home: Home, spec: ClawSpec, goal: str, progress: Progress, timeout: float, took: list[Stage]
) -> None:
    """Run the stages up to `goal`; those that are over are appended to `took`."""
    database = home.claw(spec.name).doit_db

    def on_stage(stage: Stage) -> None:
        if stage.name not in {known.name for known in took}:
            took.append(stage)

    def run(goal: str) -> None:
        stages = pipeline(home, spec, progress, timeout)
        engine.run(stages, goal, database, progress, on_stage)

    # Which template fits is known only once image and runtime disk are there.
    if spec.template:
        key = runtimes.key(spec.openclaw_version, spec.image.arch)
        if store.load(home, spec.image) is None:
            run(f"image:{image.name(spec.image)}")
        if runtimes.load(home.runtime(key).manifest) is None:
            run(f"runtime:{key}")
    run(goal)
