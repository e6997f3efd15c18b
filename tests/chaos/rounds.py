"""Rounds of chaos: a case that is cut off and what must be true after that; many; their sum."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.chaos import faults
from tests.chaos.cases import CASES, UNREACHED, Case, Now
from tests.chaos.faults import SIGNALS, Fault
from tests.chaos.site import Lost, Orphan, Site
from vclaw.crashpoints import POINTS


@dataclass
class Outcome:
    """One round: `problem` is "" where the fault was survived."""

    case: Case
    fault: Fault
    number: int = 0
    struck: bool = False
    orphan: bool = False
    problem: str = ""


@dataclass
class Tally:
    """Rounds by command and signal."""

    outcomes: list[Outcome] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str, int, int, int, int, int]]:
        """(command, signal, tried, in time, survived, lost, orphans), the sum last."""
        groups: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            groups.setdefault((outcome.case.verb, outcome.fault.signal), []).append(outcome)
        rows = [(*key, *self._sums(group)) for key, group in sorted(groups.items())]
        return [*rows, ("all", "", *self._sums(self.outcomes))]

    @staticmethod
    def _sums(group: list[Outcome]) -> tuple[int, int, int, int, int]:
        bad = [outcome for outcome in group if outcome.problem]
        orphans = sum(outcome.orphan for outcome in bad)
        struck = sum(outcome.struck for outcome in group)
        return len(group), struck, len(group) - len(bad), len(bad) - orphans, orphans

    @property
    def unreached(self) -> set[str]:
        """Steps at which a command should have been cut, and none was."""
        named = {outcome.fault.step for outcome in self.outcomes if outcome.fault.step}
        return named - {outcome.fault.step for outcome in self.outcomes if outcome.struck}

    @property
    def problems(self) -> list[Outcome]:
        """The rounds that something did not survive."""
        return [outcome for outcome in self.outcomes if outcome.problem]


def plan(rng: random.Random, rounds: int) -> Iterator[tuple[Case, Fault | None]]:
    """Every step of every case with every signal, in random order, then random moments: None.

    Where there are fewer rounds than steps, one in three is a random moment all the same.
    """
    named = [
        (case, Fault(signal, step, count))
        for case in CASES
        for step, counts in (*((step, 1) for step in case.steps), *case.counted)
        for count in range(1, counts + 1)
        for signal in SIGNALS
        if counts == 1 or SIGNALS[(count + len(case.verb)) % 3] == signal
    ]
    rng.shuffle(named)
    chosen: list[tuple[Case, Fault | None]] = [*named[: max(rounds * 2 // 3, rounds - 30)]]
    chosen += [(rng.choice(CASES), None) for _ in range(rounds - len(chosen))]
    rng.shuffle(chosen)
    return iter(chosen)


def unplanned() -> set[str]:
    """Steps of vclaw that no case is cut at."""
    planned = {step for case in CASES for step in (*case.steps, *dict(case.counted))}
    return set(POINTS) - planned - UNREACHED


@dataclass
class Chaos:
    """One site and the rounds on it; `took` is how long each case takes uncut, in seconds."""

    site: Site
    took: dict[str, float] = field(default_factory=dict)

    def round(self, case: Case, fault: Fault | None, rng: random.Random) -> Outcome:
        """Do one round; what does not survive it is told, and swept away for the next one."""
        fault = fault or faults.at_random(rng, self.took.get(case.verb, 1.5))
        outcome = Outcome(case, fault)
        try:
            self.site.provide_runtime()
            case.before(self.site, rng)
            outcome.struck = self._cut(case, fault)
        except Exception as error:  # whatever it is, the other rounds go on
            outcome.problem = f"{type(error).__name__}: {error}"
            outcome.orphan = isinstance(error, Orphan)
            self._begin_anew()
        return outcome

    def _cut(self, case: Case, fault: Fault) -> bool:
        site = self.site
        words = case.words(site)
        done, struck = faults.strike(site, words, fault)
        try:
            site.check_truth()
            site.check_whole()
            again = site.vclaw(*words)
            self.took[case.verb] = max(again.seconds, 0 if struck else done.seconds)
            rows = site.check_truth()
            if not case.after(Now(site, again, rows)):
                raise Lost(f"given again it did not do its work: {again}\n{rows}")
            if rests := site.temporaries():
                raise Lost(f"it left {', '.join(rests)}")
            site.check_whole()
        except AssertionError as error:
            raise type(error)(f"{error}\nafter {done}") from None
        return struck

    def _begin_anew(self) -> None:
        for pid in self.site.qemus():
            os.kill(pid, signal.SIGKILL)
        for folder in (self.site.home.instances, self.site.home.images, self.site.kept):
            shutil.rmtree(folder, ignore_errors=True)
        self.site.seen.clear()


def survive(seed: int, rounds: int, jobs: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Do so many rounds, `jobs` at a time, each of these in a home of its own.

    What a round does depends on the seed, its number and how long commands take here.
    """
    # A shell that puts this in the background lets it, and all that it starts, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    waiting = iter(list(enumerate(plan(random.Random(seed), rounds), 1)))
    lock = threading.Lock()
    outcomes: list[Outcome] = []

    def work() -> None:
        with Site() as site:
            chaos = Chaos(site)
            while True:
                with lock:
                    number, (case, fault) = next(waiting, (0, (CASES[0], None)))
                if not number:
                    return
                outcome = chaos.round(case, fault, random.Random(f"{seed} {number}"))
                outcome.number = number
                with lock:
                    outcomes.append(outcome)
                    tell(outcome)

    with ThreadPoolExecutor(jobs) as pool:
        for worker in [pool.submit(work) for _ in range(jobs)]:
            worker.result()
    return outcomes
