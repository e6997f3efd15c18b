"""The images vclaw supports by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One release of a distribution."""

    distro: str
    version: str
    codename: str

    @property
    def name(self) -> str:
        """What the user types."""
        return f"{self.distro}:{self.version}"


RELEASES = (
    Release("ubuntu", "22.04", "jammy"),
    Release("ubuntu", "24.04", "noble"),
    Release("ubuntu", "26.04", "resolute"),
    Release("debian", "12", "bookworm"),
    Release("debian", "13", "trixie"),
)

ARCHES = ("amd64", "arm64")
"""Architectures that images are made for."""

PREFERRED = "ubuntu:24.04"
"""The default image where its server answers."""

FALLBACK = "debian:12"
"""The default image elsewhere: it is built from Debian packages."""


def release(distro: str, version: str) -> Release | None:
    """Find a release by its number or codename."""
    for known in RELEASES:
        if known.distro == distro and version in (known.version, known.codename):
            return known
    return None
