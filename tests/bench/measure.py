"""Measures two ways of doing one thing, in turns, so that both meet the same machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One comparison: the times of each side in seconds, in the order they were taken."""

    what: str
    against: str
    limit: float | None  # the ratio that vclaw promises to stay under
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median of ours over median of theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)


def in_turns(
    what: str,
    against: str,
    limit: float | None,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    rounds: int,
    warm_up: bool = True,
) -> Result:
    """Call both sides `rounds` times, the first to go changing each round.

    Each side does its work once and returns how long it took in seconds; what it prepares and
    cleans up is not in that time. With `warm_up` a first round is thrown away.
    """
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = [("ours", ours), ("theirs", theirs)]
    for number in range(rounds + warm_up):
        for name, side in sides if number % 2 == 0 else reversed(sides):
            # Neither side pays for what the other left to be written.
            os.sync()
            seconds = side()
            if number >= warm_up:
                times[name].append(seconds)
    return Result(what, against, limit, tuple(times["ours"]), tuple(times["theirs"]))


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds_of_command(
    argv: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> float:
    """How long a command takes; raises CalledProcessError, with its output, where it fails."""

    def work() -> None:
        subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=True,
        )

    return seconds_of(work)
