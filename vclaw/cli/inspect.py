"""vclaw inspect: everything that is known of a claw."""

from __future__ import annotations

import argparse
from typing import Any

from vclaw.claws import inspect, record
from vclaw.cli import output
from vclaw.home import Home

EXAMPLES = """\
The parts: spec (what was asked for), ports, paths, process, machine, image, disk and runtime
with their digests, the readiness checks (whether each holds now, when it first did, and a hint
where it does not), the guest's own steps, and how long each stage of the last boot took.
The gateway's token and the values of --env are masked.

examples:
  vclaw inspect my-claw
  vclaw inspect my-claw --json | jq -r .paths.serial_log
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw inspect`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("--json", action="store_true", help="print JSON, nothing left out")


def run(args: argparse.Namespace) -> int:
    """Print what is known, as YAML for a person or as JSON."""
    home = Home.from_env()
    known = inspect.look(home, record.existing(home, args.clawid))
    if args.json:
        output.as_json(known)
    else:
        print(text(known), end="")
    return 0


def text(known: dict[str, Any]) -> str:
    """The same for a person: YAML; what is not there, and hints of what holds, are left out."""
    import yaml

    shown = {key: value for key, value in known.items() if value not in (None, "", [], {})}
    if shown.get("process"):
        argv = " ".join(shown["process"]["argv"])
        shown["process"] = {**shown["process"], "argv": argv}
    shown["checks"] = [_check(check) for check in known["checks"]]
    for part in ("stages", "guest_steps"):
        if part in shown:
            shown[part] = {item["name"]: _seconds(item) for item in shown[part]}
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=10_000)


def _check(check: dict[str, Any]) -> dict[str, Any]:
    state = {True: "holds", False: "does not hold", None: "was not asked"}[check["holds"]]
    if check["seconds"] is not None:
        state += f"; held after {check['seconds']:g} s of the last wait"
    shown = {check["name"]: state}
    return shown if check["holds"] is not False else {**shown, "hint": check["hint"]}


def _seconds(item: dict[str, Any]) -> str:
    if "outcome" in item:
        return f"{item['seconds']:.1f} s" + (
            "" if item["outcome"] == "done" else f", {item['outcome']}"
        )
    return f"{item['start']:.1f} s to {item['end']:.1f} s of uptime"
