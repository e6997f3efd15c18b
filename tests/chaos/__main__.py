"""`make chaos`: hundreds of rounds, then a table of what was tried and survived."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tabulate import tabulate

from tests.chaos import crowd
from tests.chaos.rounds import Outcome, Tally, survive

HEADERS = ("command", "signal", "faults tried", "in time", "survived", "lost", "orphans")


def main() -> int:
    """Run it; exit status 1 where anything was lost or left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--crowds", type=int, default=20, help="rounds of 8 commands at once")
    parser.add_argument("--jobs", type=int, default=4, help="rounds at once, each in its own home")
    args = parser.parse_args()
    began = time.monotonic()
    print(f"seed {args.seed}", flush=True)
    tally = Tally(survive(args.seed, args.rounds, args.jobs, tell))
    print(f"{args.rounds} rounds took {time.monotonic() - began:.0f} s", flush=True)
    problems = crowd.many(random.Random(args.seed), args.crowds)
    print(tabulate(tally.rows(), HEADERS))
    print(f"crowds of {crowd.SIZE} commands at once: {args.crowds}, failed: {len(problems)}")
    print(f"steps never reached: {', '.join(sorted(tally.unreached)) or 'none'}")
    for problem in [*(told(outcome) for outcome in tally.problems), *problems]:
        print(f"\n{problem}")
    print(f"seed {args.seed}, {time.monotonic() - began:.0f} s")
    return 1 if tally.problems or problems else 0


def tell(outcome: Outcome) -> None:
    """Say how a round went."""
    print(told(outcome), flush=True)


def told(outcome: Outcome) -> str:
    """A round in a line, and what it did not survive."""
    line = f"{outcome.number}: {outcome.case.verb}, {outcome.fault}"
    return f"{line}\nNOT SURVIVED: {outcome.problem}" if outcome.problem else line


if __name__ == "__main__":
    sys.exit(main())
