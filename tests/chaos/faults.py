"""Faults: a signal at a named step or at a random moment, dealt to a real command."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from dataclasses import dataclass

from tests.chaos.site import Done, Lost, Site

SIGNALS = ("KILL", "TERM", "INT")


@dataclass(frozen=True)
class Fault:
    """SIG`signal` when `step` is reached for the `count`th time, or after `delay` seconds."""

    signal: str
    step: str = ""
    count: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        when = f"{self.step}:{self.count}" if self.step else f"after {self.delay:.2f} s"
        return f"SIG{self.signal} {when}"


def strike(site: Site, words: tuple[str, ...], fault: Fault) -> tuple[Done, bool]:
    """Run a command with a fault; returns how it ended and whether the fault came in time.

    Raises Lost where the command ends in a way that it must not.
    """
    env = {"VCLAW_CRASH_AT": f"{fault.step}:{fault.count}:{fault.signal}"} if fault.step else {}
    began = time.monotonic()
    child = site.begin(*words, env=env)
    if not fault.step:
        try:
            child.wait(fault.delay)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.Signals[f"SIG{fault.signal}"])
    done = site.finish(child, began)
    struck = done.status in (130, -signal.Signals[f"SIG{fault.signal}"])
    if not struck and done.status not in (0, 1, 2):
        raise Lost(f"an exit status that vclaw does not have: {done}")
    return done, struck


def at_random(rng: random.Random, seconds: float) -> Fault:
    """A fault at some moment of a command that takes about so many seconds."""
    return Fault(rng.choice(SIGNALS), delay=rng.uniform(0.0, seconds * 1.1))
