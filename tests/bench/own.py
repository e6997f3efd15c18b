"""vclaw's own share of a run: all stages for real, with a guest that answers at once or not at all.

Promised are 0.5 s on an idle machine, whatever the guest takes. The ratio is to an empty
interpreter, so that it means the same on any machine.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.measure import Result, in_turns, seconds_of_command
from tests.pipeline import world as worlds
from tests.pipeline.world import World
from tests.support.command import VCLAW
from vclaw.model import INTERNET
from vclaw.runtime import builder

ROUNDS = 9


def compare(folder: Path) -> Iterable[Result]:
    """Each with an image and a runtime of a few bytes, so that copying them takes nothing."""
    # Sockets are made in it: its path must be short.
    root = Path(tempfile.mkdtemp(prefix="vclaw-", dir=folder.parent))
    world = _world(root)
    try:
        yield from _with_stand_in(world)
        yield from _walled(world)
    finally:
        worlds.tear_down(world)


def _world(root: Path) -> World:
    world = worlds.build(root)
    real, builder._build = builder._build, worlds.small_runtime
    kept, os.environ["VCLAW_HOME"] = os.environ.get("VCLAW_HOME"), world.env["VCLAW_HOME"]
    try:
        world.build_runtime()
    finally:
        builder._build = real
        os.environ.pop("VCLAW_HOME")
        if kept is not None:
            os.environ["VCLAW_HOME"] = kept
    return world


def _with_stand_in(world: World) -> Iterable[Result]:
    run = functools.partial(_vclaw, world, world.env, "run", *_words(world))
    remove = functools.partial(_vclaw, world, world.env, "rm", "demo", "--yes", "--force")
    stop = functools.partial(_vclaw, world, world.env, "stop", "demo", "--force")
    start = functools.partial(_vclaw, world, world.env, "start", "demo")

    def first() -> float:
        if world.paths.root.exists():
            remove()
        return run()

    def again() -> float:
        stop()
        return start()

    yield _result("first run to ready, stand-in for QEMU", first)
    yield _result("run of a ready claw, stand-in for QEMU", run)
    yield _result("start of a stopped claw, stand-in for QEMU", again)
    remove()


def _walled(world: World) -> Iterable[Result]:
    """QEMU itself in its wall, up to its first instruction: its own start is in this time."""
    own = world.env["PATH"].split(os.pathsep, 1)[1]  # without the stand-in
    env = {**world.env, "PATH": own, "VCLAW_NETWORK": INTERNET}

    def first() -> float:
        seconds = _vclaw(world, env, "run", *_words(world), "--no-wait")
        _vclaw(world, env, "rm", "demo", "--yes", "--force")
        return seconds

    yield _result("first run --no-wait, QEMU and its wall", first)


def _words(world: World) -> list[str]:
    spec = world.spec
    return [str(spec.image.path), f"--name={spec.name}", f"--workspace={spec.workspace}"]


def _vclaw(world: World, env: dict[str, str], *words: str) -> float:
    empty = {"VCLAW_CACHE_DIR": "", "VCLAW_DATA_DIR": ""}
    return seconds_of_command([VCLAW, *words], {**env, **empty}, cwd=world.home.data.parent)


def _result(what: str, ours: Callable[[], float]) -> Result:
    def bare() -> float:
        return seconds_of_command([sys.executable, "-c", "pass"])

    return in_turns(what, "python3 -c pass", None, ours, bare, rounds=ROUNDS)
