"""`vclaw image`: list, fetch and remove images."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass

from vclaw import progress
from vclaw.errors import UsageError
from vclaw.home import Home, ImagePaths
from vclaw.images import catalogue, refs, store
from vclaw.images.meta import ImageMeta
from vclaw.model import ImageRef, host_arch

EXAMPLES = """\
examples:
  vclaw image ls                       what can be had, and what is here
  vclaw image fetch ubuntu:24.04       download and verify
  vclaw image fetch ubuntu:noble@20260930 --arch arm64
  vclaw image fetch debian:12          build from Debian packages
  vclaw image fetch ubuntu:24.04 --refresh    replace it where a newer one was released
  vclaw image fetch ./disk.img         take a local image into the cache
  vclaw image rm ubuntu:24.04          claws made from it keep working
"""

HEADERS = ("REF", "ARCH", "DOWNLOADED", "SIZE", "UPDATED(UTC)")


@dataclass(frozen=True)
class Row:
    """One image as `image ls` shows it."""

    ref: str
    arch: str
    downloaded: str  # yes | no | broken
    entry: store.Entry | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The row's cells, as in HEADERS."""
        size = _size(self.entry.disk_bytes) if self.entry else "-"
        meta = self.entry.meta if self.entry else None
        return (self.ref, self.arch, self.downloaded, size, _updated(meta))


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's words."""
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="image_verb", metavar="ACTION", required=True)
    ls = verbs.add_parser("ls", help="list the supported images and what is cached")
    ls.add_argument("--json", action="store_true", help="print JSON")
    fetch = verbs.add_parser("fetch", help="download, build or copy an image into the cache")
    fetch.add_argument("ref", metavar="REF", help="ubuntu:24.04, debian:12, a path, ...")
    fetch.add_argument(
        "--refresh",
        action="store_true",
        help="ask whether a release has moved on, and replace the cached image once the new one "
        "is verified; debian: images are built anew; claws keep their disks",
    )
    rm = verbs.add_parser("rm", help="remove an image from the cache; claws keep theirs")
    rm.add_argument("ref", metavar="REF", help="a REF that `vclaw image ls` shows")
    for verb in (fetch, rm):
        verb.add_argument("--arch", metavar="ARCH", help="amd64 or arm64 (default: the host's)")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    home = Home.from_env()
    if args.image_verb == "ls":
        return _ls(home, args.json)
    if args.image_verb == "fetch":
        return _fetch(home, args.ref, args.arch, refresh=args.refresh)
    return _rm(home, args.ref, args.arch)


def rows(entries: list[store.Entry], arch: str) -> list[Row]:
    """The supported images for `arch` first, then whatever else is cached."""
    by_key = {entry.key: entry for entry in entries}
    found = []
    for known in catalogue.RELEASES:
        ref = ImageRef(known.distro, known.version, arch)
        found.append(_row(ref.name, arch, by_key.pop(ref.key, None)))
    for key, entry in sorted(by_key.items()):
        name, its_arch = (entry.meta.ref, entry.meta.arch) if entry.meta else (key, "-")
        found.append(_row(name, its_arch, entry))
    return found


def _row(ref: str, arch: str, entry: store.Entry | None) -> Row:
    downloaded = "no" if entry is None else "yes" if entry.meta else "broken"
    return Row(ref, arch, downloaded, entry)


def _ls(home: Home, as_json: bool) -> int:
    found = rows(store.listing(home), host_arch())
    if as_json:
        print(json.dumps([_record(home, row) for row in found], indent=2))
        return 0
    from tabulate import tabulate

    print(tabulate([row.cells for row in found], HEADERS, tablefmt="plain", disable_numparse=True))
    for row in found:
        if row.entry is not None and row.entry.problem:
            print(f"{row.ref}: {row.entry.problem} `vclaw image rm {row.ref}` removes it.")
    return 0


def _fetch(home: Home, text: str, arch: str | None, *, refresh: bool) -> int:
    ref = refs.parse(text, arch, home)
    get = store.refresh if refresh else store.fetch
    meta = get(home, ref, progress.for_stderr())
    print(f"{ref.name} {meta.arch} {meta.digest}")
    print(home.image(ref).image)
    return 0


def _rm(home: Home, text: str, arch: str | None) -> int:
    wanted = refs.parse_arch(arch or host_arch())
    for entry in store.listing(home):
        if entry.key == text or _is(entry, text, wanted):
            # A local file may be gone by now, and a damaged one has no name but its folder's.
            store.remove_key(home, entry.key)
            print(f"removed {text}")
            return 0
    if "/" in text and not os.path.exists(text):  # noqa: PTH110 - a plain question
        raise UsageError(f"{text} is not cached.", "`vclaw image ls` shows what is.")
    ref = refs.parse(text, arch, home)
    store.remove(home, ref)
    print(f"removed {ref.name}")
    return 0


def _is(entry: store.Entry, text: str, arch: str) -> bool:
    return entry.meta is not None and (entry.meta.ref, entry.meta.arch) == (text, arch)


def _record(home: Home, row: Row) -> dict[str, object]:
    meta = row.entry.meta if row.entry else None
    record: dict[str, object] = {
        "ref": row.ref,
        "arch": row.arch,
        "downloaded": row.downloaded == "yes",
        "status": row.downloaded,
        "size_bytes": row.entry.disk_bytes if row.entry else None,
        "updated": meta.fetched_at if meta else None,
    }
    if row.entry is not None:
        record["path"] = str(ImagePaths(home.images / row.entry.key).image)
        record["problem"] = row.entry.problem or None
    if meta is not None:
        record |= {"digest": meta.digest, "source": meta.source, "format": meta.format}
    return record


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _updated(meta: ImageMeta | None) -> str:
    return meta.fetched_at.replace("T", " ").removesuffix("Z") if meta else "-"
