"""vclaw config: what a run would use, and which flag, line or default says so."""

from __future__ import annotations

import argparse
import sys

from vclaw.cli import output, project
from vclaw.cli import run as run_verb
from vclaw.home import Home
from vclaw.project_file import FILE_NAME
from vclaw.settings import Row

EXAMPLES = """\
examples:
  vclaw config show                      what `vclaw run` would use in this folder
  vclaw config show --cpus 4 --json
  vclaw config show --name my-claw

It takes every flag of `vclaw run`. FROM is flag, vclaw.yaml:LINE, claw.json or secrets.json
(what the claw was given before), or default. Values of variables are not shown.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw config`."""
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="config_verb", metavar="ACTION", required=True)
    show = verbs.add_parser(
        "show",
        help="print every setting, its value and where it comes from",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run_verb.configure(show)
    show.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    """Print the merged settings; nothing is made and nothing is asked."""
    home, settings = Home.from_env(), run_verb.settings()
    plan = project.look(home, args, settings)
    with project.locating(plan):
        rows = project.rows(home, plan, args, settings)
    if args.json:
        output.as_json(
            {
                "file": str(plan.file.path) if plan.file else None,
                "approved": not plan.unapproved,
                "not_approved": list(plan.unapproved),
                "settings": {row.key: {"value": row.value, "from": row.source} for row in rows},
            }
        )
        return 0
    output.columns(
        ("SETTING", "VALUE", "FROM"), [(row.key, _cell(row), row.source) for row in rows]
    )
    if plan.unapproved:
        print(f"{FILE_NAME} is not approved; `vclaw allow` would let it:", file=sys.stderr)
        for line in plan.unapproved:
            print(f"  - {line}", file=sys.stderr)
    return 0


def _cell(row: Row) -> str:
    if row.value is None:
        return "-"
    if isinstance(row.value, bool):
        return "true" if row.value else "false"
    return ", ".join(row.value) if isinstance(row.value, list) else row.value
