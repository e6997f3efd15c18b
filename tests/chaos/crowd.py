"""Crowds: eight commands at once over the same few claws, and what each of them may answer."""

from __future__ import annotations

import random
import re
import time

from tests.chaos.site import UBUNTU, Done, Lost, Site

SIZE = 8

CLAWS = ("a", "b", "c")

ANSWERS = re.compile(
    r"""is\ busy:\ process\ \d+\ \(vclaw\ \w+\)\ is\ working\ on\ it
    | was\ removed\ by\ another\ process\ just\ now
    | There\ is\ no\ claw
    | is\ not\ running
    | is\ suspended
    | is\ running\ with\ other\ settings
    | is\ missing:\ the\ first\ run\ was\ interrupted,\ or\ has\ only\ begun
    | its\ guest\ does\ not\ answer,\ and\ its\ clock\ is\ not\ set
    | was\ not\ ready\ within
    | virtual\ machine\ ended\ before\ OpenClaw\ was\ ready
    """,
    re.VERBOSE,
)
"""What a command may say that cannot do its work since others were faster."""


def command(rng: random.Random, site: Site) -> tuple[str, ...]:
    """One of the crowd's commands."""
    name = rng.choice(CLAWS)
    limits = ("--cpus", "1", "--memory-mib", "2048", "--disk-gib", "1")
    run = ("--name", name, "--no-wait", *limits)
    # One claw has always the same image: there is nothing to refuse then.
    image = UBUNTU if name == "a" else str(site.file)
    return rng.choice(
        (
            ("run", image, *run),
            ("run", image, *run),
            ("start", name, "--no-wait"),
            ("suspend", name),
            ("resume", name, "--ready-timeout-secs", "0.5"),
            ("stop", name, "--force"),
            ("rm", name, "--yes", "--force"),
            ("ps", "--json"),
            ("image", "fetch", UBUNTU),
        )
    )


def at_once(site: Site, commands: list[tuple[str, ...]]) -> list[Done]:
    """Start all commands, then wait for all; raises Lost where one hangs."""
    began = time.monotonic()
    children = [site.begin(*words) for words in commands]
    return [site.finish(child, began) for child in children]


def crowd(site: Site, rng: random.Random) -> None:
    """One crowd; raises Lost where an answer is none of those, or the truth is another."""
    site.server.requests.clear()
    cached = (site.home.images / "ubuntu_24.04" / "image.json").exists()
    commands = [command(rng, site) for _ in range(SIZE)]
    for name in {words[1] for words in commands if words[0] == "rm"}:
        site.seen.pop(name, None)  # it may be another claw by then
    for done in at_once(site, commands):
        if done.status == 0 or (done.status in (1, 2) and ANSWERS.search(done.stderr)):
            continue
        raise Lost(f"no answer for a crowd: {done}")
    site.check_truth()
    site.check_whole()
    downloads = len(site.server.ranges(site.download))
    if downloads > (0 if cached else 1):
        raise Lost(f"the image was downloaded {downloads} times")


def many(rng: random.Random, crowds: int) -> list[str]:
    """Crowd after crowd on a site of their own; returns what went wrong."""
    problems = []
    with Site() as site:
        for number in range(1, crowds + 1):
            try:
                crowd(site, rng)
            except AssertionError as error:
                problems.append(f"crowd {number}: {error}")
        for name in site.ps():
            site.must("rm", name, "--yes", "--force")
        if site.qemus() or site.temporaries():
            problems.append(f"left: {site.qemus()} {site.temporaries()}")
    return problems
