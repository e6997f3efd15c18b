"""vclaw verify: check again, offline, that a claw or an image is what was verified when made."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from vclaw import integrity
from vclaw.claws import record
from vclaw.cli import output
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home, ImagePaths
from vclaw.images import store
from vclaw.progress import Progress, for_stderr

if TYPE_CHECKING:
    from vclaw.integrity import Check

EXAMPLES = """\
No server is asked; all that is looked at is read from the disk, so it takes some seconds:
  image    the digest of each file, and the signature of Ubuntu's list of digests, which was kept
           when the image was fetched
  runtime  the digest of the disk with OpenClaw, and the npm lock with each package's digest
  claw     the image that its disk was made from, its kernel, and the runtime of its last boot;
           the disk itself belongs to the guest, which changes it

The exit status is 0 where all holds, else 1. A newer vclaw records more: what an older one did
not record does not hold.

examples:
  vclaw verify my-claw
  vclaw verify ubuntu:24.04
  vclaw verify my-claw --json | jq '.checks[] | select(.problem != "")'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw verify`."""
    parser.epilog = EXAMPLES
    parser.add_argument("what", metavar="CLAWID|REF", help="a claw, or an image in the cache")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look at everything and print what was found."""
    checks = list(_checks(Home.from_env(), args.what, for_stderr()))
    holds = not any(check.problem for check in checks)
    if args.json:
        output.as_json({"holds": holds, "checks": [asdict(check) for check in checks]})
    else:
        print(text(checks), end="")
    return 0 if holds else 1


def text(checks: Sequence[Check]) -> str:
    """One line a check; what does not hold has its hint below."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = "FAIL" if check.problem else "ok  "
        lines.append(f"{mark}  {check.name.ljust(width)}  {check.problem or check.found}")
        if check.problem:
            lines.append(f"{'':{width + 8}}{check.hint}".rstrip())
    bad = sum(bool(check.problem) for check in checks)
    lines.append(f"{len(checks) - bad} hold, {bad} do not")
    return "".join(f"{line}\n" for line in lines)


def _checks(home: Home, what: str, progress: Progress) -> Iterator[Check]:
    if what in record.names(home):
        paths = home.claw(what)
        record.load(paths)
        return integrity.claw(home, paths, progress)
    for entry in store.listing(home):
        names = (entry.key, entry.meta.ref if entry.meta else "")
        if what in names:
            if entry.meta is None:
                raise VclawError(entry.problem, f"`vclaw image rm {entry.key}` removes it.")
            return integrity.image(ImagePaths(home.images / entry.key), entry.meta, progress)
    raise UsageError(
        f"There is no claw and no cached image {what!r}.",
        "`vclaw ps` lists the claws, `vclaw image ls` the images.",
    )
