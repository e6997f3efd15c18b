"""`vclaw template`: list and remove the booted guests that claws begin from."""

from __future__ import annotations

import argparse
from typing import Any

from vclaw import fsutil, prune
from vclaw.cli import output
from vclaw.home import Home
from vclaw.templates import store
from vclaw.templates.store import Entry

EXAMPLES = """\
`vclaw run` makes a template where none fits: the guest's system up, OpenClaw's files in memory,
nothing of any claw in it. Claws with the same image, OpenClaw, processors, memory and disk size
begin from it, and their disks hold only what they change. `vclaw run --no-template` boots a claw
with a disk of its own instead.

examples:
  vclaw template ls
  vclaw template rm debian_12-1a2b3c4d5e     the next run makes it again where it is wanted
"""

HEADERS = (
    *("TEMPLATE", "IMAGE", "OPENCLAW", "CPUS", "MEMORY", "DISK"),
    *("SIZE", "CLAWS", "MADE(UTC)"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's words."""
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="template_verb", metavar="ACTION", required=True)
    ls = verbs.add_parser("ls", help="list the templates")
    ls.add_argument("--json", action="store_true", help="print JSON")
    rm = verbs.add_parser("rm", help="remove a template that no claw's disk lies over")
    force = "even where a claw may need it whose folder is not there now"
    rm.add_argument("--force", action="store_true", help=force)
    rm.add_argument("key", metavar="TEMPLATE", help="a name that `vclaw template ls` shows")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    home = Home.from_env()
    if args.template_verb == "rm":
        store.remove(home, args.key, force=args.force)
        print(f"removed {args.key}")
        return 0
    store.sweep(home)
    found = store.listing(home)
    if args.json:
        output.as_json([_record(entry) for entry in found])
    else:
        output.columns(HEADERS, [_cells(entry) for entry in found])
    return 0


def _cells(entry: Entry) -> tuple[str, ...]:
    size, claws = fsutil.mib(prune.disk_bytes(entry.paths.root)), str(len(entry.users))
    meta = entry.meta
    if meta is None:
        return (entry.key, "broken", "-", "-", "-", "-", size, claws, "-")
    made = meta.made_at.replace("T", " ").removesuffix("Z")
    return (
        *(entry.key, meta.image, meta.openclaw, str(meta.cpus), f"{meta.memory_mib} MiB"),
        *(f"{meta.disk_gib} GiB", size, claws, made),
    )


def _record(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "template": entry.key,
        "path": str(entry.paths.root),
        "bytes": prune.disk_bytes(entry.paths.root),
        "claws": [str(folder) for folder in entry.users],
        "whole": entry.meta is not None,
        **(asdict(entry.meta) if entry.meta is not None else {}),
    }
