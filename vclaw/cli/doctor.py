"""vclaw doctor: whether this host can run claws, and what to do where it cannot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from vclaw import doctor, hostfacts
from vclaw.cli import output
from vclaw.doctor import Finding
from vclaw.home import Home
from vclaw.progress import for_stderr

EXAMPLES = """\
Each line is ok, warn (works, with a loss of time or comfort) or FAIL. The exit status is 1
where anything fails, else 0. Acceleration is judged by a trial, whose result is kept.

examples:
  vclaw doctor
  vclaw doctor --deep            compares the cache's digests too: reads all of it
  vclaw doctor --json | jq '.findings[] | select(.level != "ok")'
"""

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw doctor`."""
    parser.epilog = EXAMPLES
    parser.add_argument("--deep", action="store_true", help="compare the digests of the cache")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look at the host and print the checklist."""
    findings = doctor.checklist(hostfacts.gather(Home.from_env(), for_stderr(), deep=args.deep))
    fit = doctor.fit(findings)
    if args.json:
        output.as_json({"fit": fit, "findings": [asdict(finding) for finding in findings]})
    else:
        print(text(findings), end="")
    return 0 if fit else 1


def text(findings: Sequence[Finding]) -> str:
    """The checklist as lines, each hint below what it is for."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]}  {finding.name.ljust(width)}  {finding.found}")
        if finding.hint:
            lines += [f"{'':{width + 8}}{line}" for line in finding.hint.splitlines()]
    count = {level: sum(f.level == level for f in findings) for level in MARKS}
    lines.append(f"{count['ok']} ok, {count['warn']} to know, {count['fail']} to mend")
    return "".join(f"{line}\n" for line in lines)
