"""vclaw prune: free the disk space of what no claw uses."""

from __future__ import annotations

import argparse
from typing import Any

from vclaw import prune
from vclaw.cli import output
from vclaw.home import Home
from vclaw.prune import Item

EXAMPLES = """\
What goes, all of it out of the cache, which can be made again:
  image    images that no claw still has to copy. A claw that has its disk does not need its
           image any more and works on; the next new claw of that image downloads or builds it
           again. `vclaw image rm REF` removes one image alone.
  template booted guests that no claw's disk lies over
  runtime  disks with OpenClaw that no claw mounts, running or stopped
  partial  rests of interrupted downloads and builds, unless a claw waits for them

Claws, their disks and OpenClaw's state are never touched (`vclaw rm` removes those), nor is
anything that another vclaw process is fetching or building right now.

examples:
  vclaw prune --dry-run      what would go, and what it would free
  vclaw prune
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw prune`."""
    parser.epilog = EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, say what would go")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Remove, and say what it freed."""
    items, uses = prune.prune(Home.from_env(), dry_run=args.dry_run)
    freed = sum(item.bytes for item in items if not item.kept)
    if args.json:
        output.as_json(
            {
                "dry_run": args.dry_run,
                "freed_bytes": freed,
                "items": [_record(item) for item in items],
                "unreadable_claws": list(uses.unknown),
            }
        )
        return 0
    if items:
        rows = [(item.kind, item.name, _size(item.bytes), item.kept or "-") for item in items]
        output.columns(("KIND", "NAME", "SIZE", "KEPT"), rows)
    if uses.unknown:
        names = ", ".join(uses.unknown)
        print(f"kept all that is whole, since nobody knows what these broken claws use: {names}")
    print(f"{'would free' if args.dry_run else 'freed'} {_size(freed)}")
    return 0


def _record(item: Item) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "paths": [str(path) for path in item.paths],
        "bytes": item.bytes,
        "kept": item.kept or None,
    }


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
