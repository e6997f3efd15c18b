"""Turns what a user types for an image into an ImageRef."""

from __future__ import annotations

import datetime
import difflib
import os
import re

from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.images import catalogue, digests, formats
from vclaw.model import ARCHES, ImageRef, host_arch
from vclaw.paths import absolute

SERIAL = re.compile(r"(\d{4})(\d{2})(\d{2})(\.\d{1,3})?", re.ASCII)
"""The date of an image's build, and a number where there was more than one that day."""

HINT = "`vclaw image ls` shows the supported images; a path such as ./disk.img works too."


def parse(text: str, arch: str | None = None, home: Home | None = None) -> ImageRef:
    """Parse `ubuntu:24.04`, `ubuntu:noble`, `ubuntu:24.04@20260930`, `debian:12` or a path.

    `arch` is the host's where it is None. A local file is read once to learn its digest, which
    `home` remembers. Raises UsageError.
    """
    arch = parse_arch(arch or host_arch())
    name, at, serial = text.partition("@")
    distro, _, version = name.strip().lower().partition(":")
    known = catalogue.release(distro, version)
    # A known name never means a file: a guest could put one of that name into the workspace.
    # os.path takes what no file can be called for a file that is not there; pathlib raises.
    if known is None and ("/" in text or os.path.isfile(text)):  # noqa: PTH113
        return _local(text, arch, home or Home.from_env())
    if known is None:
        raise UsageError(f"There is no image {text!r}.", _nearest(name) + HINT)
    if at:
        _check_serial(text, known, serial)
    return ImageRef(known.distro, known.version, arch, serial)


def parse_arch(text: str) -> str:
    """An architecture as Debian names it; raises UsageError for one without images."""
    arch = ARCHES.get(text.lower())
    if arch is None:
        raise UsageError(
            f"The architecture {text!r} is not supported.",
            f"vclaw has images for {' and '.join(catalogue.ARCHES)}.",
        )
    return arch


def _check_serial(text: str, known: catalogue.Release, serial: str) -> None:
    if known.distro != "ubuntu":
        raise UsageError(
            f"{text} has a date, and {known.name} is built here from today's packages.",
            f"Write {known.name}.",
        )
    match = SERIAL.fullmatch(serial)
    if match is None:
        raise UsageError(
            f"{serial!r} in {text} is no date of an image.",
            f"Write the date as YYYYMMDD or YYYYMMDD.N: {known.name}@20260930.",
        )
    try:
        datetime.date(*(int(group) for group in match.groups()[:3]))
    except ValueError:
        raise UsageError(
            f"{serial!r} in {text} is a date that does not exist.",
            f"Write the date as YYYYMMDD or YYYYMMDD.N: {known.name}@20260930.",
        ) from None


def _nearest(name: str) -> str:
    spellings: dict[str, str] = {}
    for known in catalogue.RELEASES:
        for spelling in (known.name, f"{known.distro}:{known.codename}", known.codename):
            spellings[spelling] = spelling if ":" in spelling else known.name
        spellings[known.name.partition(".")[0]] = known.name
    found = difflib.get_close_matches(name.lower(), spellings, n=1, cutoff=0.5)
    return f"Did you mean {spellings[found[0]]}? " if found else ""


def _local(text: str, arch: str, home: Home) -> ImageRef:
    path = absolute(text)
    hint = "Give the path of a raw or qcow2 disk image."
    if not os.path.exists(path):  # noqa: PTH110 - as above
        raise UsageError(f"There is no file {path}.", hint)
    if not path.is_file():
        raise UsageError(f"{path} is not a file.", hint)
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} cannot be read.", f"Allow it: chmod +r {path}.")
    try:
        formats.inspect(path, bootable=True)
    except formats.FormatError as error:
        raise UsageError(error.message, error.hint) from None
    return ImageRef("file", digests.of_file(path, home), arch, path=path)
