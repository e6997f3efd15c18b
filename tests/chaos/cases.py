"""The cases of chaos: a state, a command in it, its steps, and what must come of the command."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.site import UBUNTU, Done, Lost, Site
from vclaw.ports import is_free

NO_AGENT = "its guest does not answer, and its clock is not set"
"""How `resume` ends where the guest has no agent, as the tiny one: it runs again all the same."""

CLAW = "a"


@dataclass(frozen=True)
class Now:
    """What there is after the command was given again: how it ended, and what `ps` says."""

    site: Site
    done: Done
    rows: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A command, the state that it is given in, and the steps that it may be cut at.

    `before` brings the state about, `after` says whether the command given again did its work.
    """

    verb: str
    words: Callable[[Site], tuple[str, ...]]
    before: Callable[[Site, random.Random], None]
    after: Callable[[Now], bool]
    steps: tuple[str, ...] = ()
    counted: tuple[tuple[str, int], ...] = ()  # steps that are reached so many times


# States


def absent(site: Site, rng: random.Random) -> None:
    """No claw, and its image in the cache or not."""
    if CLAW in site.ps():
        site.must("rm", CLAW, "--yes", "--force")
        site.seen.pop(CLAW, None)
    if rng.random() < 0.5:
        nothing_cached(site, rng)


def running(site: Site, rng: random.Random) -> None:
    """A claw whose guest runs."""
    status = site.ps().get(CLAW, {}).get("status")
    if status is None:
        absent(site, rng)
        site.must(*run(site))
    elif status == "suspended":
        resume(site)
    elif status != "booting":
        site.must("run", "--name", CLAW, "--no-wait")
    if not site.runs(CLAW):
        raise Lost("the guest stands still")
    site.check_whole()


def stopped(site: Site, rng: random.Random) -> None:
    """A claw that is there and does not run."""
    if CLAW not in site.ps():
        running(site, rng)
    site.must("stop", CLAW, "--force")
    site.check_whole()


def stopped_without_variable(site: Site, rng: random.Random) -> None:
    """The same, and COLOUR is not set."""
    stopped(site, rng)
    site.must("env", CLAW, "unset", "COLOUR")


def suspended(site: Site, rng: random.Random) -> None:
    """A claw whose guest stands still."""
    running(site, rng)
    site.must("suspend", CLAW)


def resume(site: Site) -> None:
    """Let the guest go on."""
    done = site.vclaw("resume", CLAW, "--ready-timeout-secs", "0.5")
    if done.status != 1 or NO_AGENT not in done.stderr:
        raise Lost(f"not how a guest without an agent is resumed: {done}")


def any_claw(site: Site, rng: random.Random) -> None:
    """A claw in any state."""
    rng.choice((running, stopped, suspended))(site, rng)


def unpublished(site: Site, rng: random.Random) -> None:
    """A claw whose guest runs, without the port that is published next."""
    running(site, rng)
    if site.port + 1 in published(site):
        site.must("port", "rm", CLAW, str(site.port + 1))


def published(site: Site) -> set[int]:
    """The host ports that the claw's record publishes."""
    spec = json.loads(site.claw(CLAW).spec.read_text())
    return {item["host"] for item in spec["publish"]}


def nothing_cached(site: Site, rng: random.Random) -> None:  # noqa: ARG001
    """No image in the cache, nor a part of one."""
    shutil.rmtree(site.home.images, ignore_errors=True)


def something_cached(site: Site, rng: random.Random) -> None:  # noqa: ARG001
    """Both images in the cache."""
    site.must("image", "fetch", UBUNTU)
    site.must("image", "fetch", str(site.file))


def outdated(site: Site, rng: random.Random) -> None:
    """An image in the cache, and a newer one on the server."""
    something_cached(site, rng)
    site.release()


# Commands


def run(site: Site) -> tuple[str, ...]:
    """From nothing to a machine that runs."""
    limits = ("--cpus", "1", "--memory-mib", "2048", "--disk-gib", "1", "--port", str(site.port))
    return ("run", str(site.file), "--name", CLAW, "--no-wait", *limits)


def run_ubuntu(site: Site) -> tuple[str, ...]:
    """The same with an image that has to be downloaded."""
    return ("run", UBUNTU, *run(site)[2:])


def said(*words: str) -> Callable[[Site], tuple[str, ...]]:
    """A command that is the same on every site."""
    return lambda _: words


# What must have come of it


def is_up(now: Now) -> bool:
    """The guest runs, by the command's word and the console's."""
    return now.done.status == 0 and now.rows[CLAW]["status"] == "booting" and now.site.runs(CLAW)


def is_suspended(now: Now) -> bool:
    """The guest stands still."""
    return now.done.status == 0 and now.rows[CLAW]["status"] == "suspended"


def is_resumed(now: Now) -> bool:
    """The guest runs; where it did already, there may have been nothing left to undo."""
    known = NO_AGENT in now.done.stderr or "was not ready within" in now.done.stderr
    return now.done.status == 1 and known and now.rows[CLAW]["status"] == "booting"


def is_stopped(now: Now) -> bool:
    """Nothing runs."""
    return now.done.status == 0 and now.rows[CLAW]["status"] == "stopped" and not now.site.qemus()


def is_published(now: Now) -> bool:
    """The port is on record and leads somewhere; by the first try already, it may."""
    port = now.site.port + 1
    mine = now.done.status == 0 or f"Port {port} of the host is a's already" in now.done.stderr
    return mine and port in published(now.site) and not is_free(port)


def has_variable(now: Now) -> bool:
    """The variable is stored."""
    secrets = json.loads(now.site.claw(CLAW).secrets.read_text())
    return now.done.status == 0 and secrets["env"].get("COLOUR") == "blue"


def is_gone(now: Now) -> bool:
    """The claw is gone; by the first try already, it may be."""
    gone = now.done.status == 0 or (now.done.status == 2 and "There is no claw" in now.done.stderr)
    return gone and not now.site.claw(CLAW).root.exists() and not now.site.qemus()


def is_kept(now: Now) -> bool:
    """The claw is gone, and its state lies where it was wanted."""
    there = (now.site.kept / "memory").exists()
    shutil.rmtree(now.site.kept, ignore_errors=True)
    return there and is_gone(now)


def is_cached(now: Now) -> bool:
    """The image is there, and nothing of how it came."""
    return now.done.status == 0 and not now.site.leftovers()


def is_newest(now: Now) -> bool:
    """The image is there, and the newest."""
    meta = json.loads((now.site.home.images / "ubuntu_24.04" / "image.json").read_text())
    return is_cached(now) and meta["digest"] == list(now.site.images)[-1]


def is_uncached(now: Now) -> bool:
    """The image is gone; by the first try already, it may be."""
    gone = now.done.status == 0 or (now.done.status == 2 and "is not cached" in now.done.stderr)
    return gone and not (now.site.home.images / "ubuntu_24.04").exists()


def is_pruned(now: Now) -> bool:
    """What no claw needs is gone."""
    return now.done.status == 0 and not any(now.site.home.images.iterdir())


MAKING = ("claw.folder", "claw.keys", "claw.described", "disk.unlisted", "disk.copied")
BOOTING = ("boot.cleared", "boot.spawned", "boot.recorded", "boot.released", "boot.answered")
SEEDING = ("disk.placed", "seed.unmarked", "seed.written")
STOPPING = ("stop.ended",)
LOADING = ("image.begun", "image.complete", "image.placed")

CASES = (
    Case(
        "run",
        run,
        absent,
        is_up,
        (*MAKING, *SEEDING, *BOOTING),
        (("file.written", 14), ("file.placed", 14), ("lock.held", 5)),
    ),
    Case("run", run_ubuntu, absent, is_up, ("image.received", *MAKING, *BOOTING)),
    Case("run", said("run", "--name", CLAW, "--no-wait"), stopped, is_up, BOOTING),
    Case(
        "start",
        said("start", CLAW, "--no-wait"),
        stopped,
        is_up,
        BOOTING,
        (("file.written", 3), ("lock.held", 3)),
    ),
    Case(
        "suspend",
        said("suspend", CLAW),
        running,
        is_suspended,
        ("suspend.noted", "suspend.paused"),
        (("file.written", 1), ("lock.held", 1)),
    ),
    Case(
        "resume",
        said("resume", CLAW, "--ready-timeout-secs", "0.5"),
        suspended,
        is_resumed,
        ("resume.running",),
        (("lock.held", 1),),
    ),
    Case(
        "port add",
        lambda site: ("port", "add", CLAW, f"{site.port + 1}:90"),
        unpublished,
        is_published,
        counted=(("file.written", 2), ("file.placed", 2), ("lock.held", 1)),
    ),
    Case(
        "env set",
        said("env", CLAW, "set", "COLOUR=blue"),
        stopped_without_variable,
        has_variable,
        ("seed.unmarked", "seed.written"),
        (("file.written", 4), ("lock.held", 1)),
    ),
    Case("stop", said("stop", CLAW), running, is_stopped, ("stop.asked", *STOPPING)),
    Case(
        "stop", said("stop", CLAW, "--force"), any_claw, is_stopped, STOPPING, (("lock.held", 1),)
    ),
    Case(
        "rm",
        said("rm", CLAW, "--yes", "--force"),
        any_claw,
        is_gone,
        (*STOPPING, "remove.stopped", "remove.renamed"),
    ),
    Case(
        "rm --keep-state",
        lambda site: ("rm", CLAW, "--force", "--keep-state", str(site.kept)),
        any_claw,
        is_kept,
        ("remove.stopped", "remove.kept"),
    ),
    Case(
        "image fetch",
        said("image", "fetch", UBUNTU),
        nothing_cached,
        is_cached,
        LOADING,
        (("image.received", 6), ("file.written", 2), ("lock.held", 1)),
    ),
    Case(
        "image fetch",
        lambda site: ("image", "fetch", str(site.file)),
        nothing_cached,
        is_cached,
        ("image.begun",),
        (("file.written", 2), ("file.placed", 2)),
    ),
    Case(
        "image fetch --refresh",
        said("image", "fetch", UBUNTU, "--refresh"),
        outdated,
        is_newest,
        ("image.complete", "image.placed", "image.unlisted"),
        (("image.received", 6), ("file.written", 2)),
    ),
    Case(
        "image rm",
        said("image", "rm", UBUNTU),
        something_cached,
        is_uncached,
        ("image.unlisted",),
        (("lock.held", 2),),
    ),
    Case(
        "prune",
        said("prune"),
        something_cached,
        is_pruned,
        ("prune.unlisted",),
        (("lock.held", 2),),
    ),
)

# The tiny guest has no agent that would let `resume` come so far.
UNREACHED = {
    "resume.undone",
    # The tiny guest has no agent, so that no template is made of it; tests/pipeline cuts these.
    *("template.booted", "template.saved", "template.unlisted"),
    *("clone.fresh", "clone.loaded", "clone.begun", "clone.released", "clone.introduced"),
    *("save.begun", "save.released", "save.paused", "save.written", "save.noted", "save.ended"),
    *("save.dropped", "restore.loaded", "restore.running", "fork.copied", "fork.described"),
}
