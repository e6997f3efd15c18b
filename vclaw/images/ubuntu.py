"""Fetches Ubuntu's cloud images and checks them against their signed list of digests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vclaw.errors import UsageError, VclawError
from vclaw.home import ImagePaths
from vclaw.images import catalogue, download, verify
from vclaw.images.http import Client, StatusError
from vclaw.model import ImageRef
from vclaw.paths import absolute
from vclaw.progress import Progress

SERVER = "https://cloud-images.ubuntu.com"
"""Where Canonical publishes them; VCLAW_UBUNTU_URL names a mirror instead."""

SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
"""A line of SHA256SUMS, as sha256sum writes it in text and in binary mode."""

DATED = re.compile(r'href="release-(\d{8}(?:\.\d+)?)/?"')
"""A dated release in the listing of a release's folder."""

SHOWN_DATES = 5


@dataclass(frozen=True)
class Location:
    """Where one image lies: the folder holds SHA256SUMS and its signature too."""

    folder: str
    file: str

    @property
    def url(self) -> str:
        """The image's address."""
        return f"{self.folder}/{self.file}"


@dataclass(frozen=True)
class SignedList:
    """SHA256SUMS and its signature as they were downloaded, and who signed."""

    data: bytes
    signature: bytes
    signed_by: str  # fingerprint of the OpenPGP key

    def sha256(self, file: str) -> str:
        """The digest that the list names for a file, in hex; "" where it names none."""
        return parse_sums(self.data.decode(errors="replace")).get(file, "")


@dataclass(frozen=True)
class Fetched:
    """An image that is complete and verified, still in `paths.partial`."""

    sha256: str
    url: str
    sums: SignedList


def server(env: Mapping[str, str]) -> str:
    """The server's base address, without a slash at its end."""
    url = (env.get("VCLAW_UBUNTU_URL") or SERVER).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"VCLAW_UBUNTU_URL is {url!r}, which is no address of a web server.",
            "Set it to one that begins with https:// or http://, or unset it.",
        )
    return url


def check(env: Mapping[str, str]) -> None:
    """Raise UsageError where the settings or the host are not fit to fetch and verify."""
    server(env)
    verify.check(keyring(env))


def keyring(env: Mapping[str, str]) -> Path:
    """The key that SHA256SUMS must be signed with."""
    named = env.get("VCLAW_UBUNTU_KEYRING")
    return absolute(named) if named else verify.KEYRING


def locations(ref: ImageRef, base: str) -> list[Location]:
    """Where an image can lie, the likeliest first.

    Without a date that is the folder `release`, which moves to each new release. A dated one is
    a release of that day, or else a daily build.
    """
    known = catalogue.release(ref.distro, ref.version)
    assert known is not None  # refs.parse() lets no other version through
    releases = f"{base}/releases/{known.codename}"
    file = f"ubuntu-{known.version}-server-cloudimg-{ref.arch}.img"
    if not ref.serial:
        return [Location(f"{releases}/release", file)]
    daily = f"{known.codename}-server-cloudimg-{ref.arch}.img"
    return [
        Location(f"{releases}/release-{ref.serial}", file),
        Location(f"{base}/{known.codename}/{ref.serial}", daily),
    ]


def parse_sums(text: str) -> dict[str, str]:
    """SHA256SUMS as {file name: sha256 in hex}; lines of another form are left out."""
    matches = (SUM_LINE.fullmatch(line.rstrip()) for line in text.splitlines())
    return {match[2]: match[1] for match in matches if match}


def dated_releases(listing: str) -> list[str]:
    """The dates in the HTML listing of `releases/<codename>/`, the newest first."""
    return sorted(set(DATED.findall(listing)), reverse=True)


def fetch(
    ref: ImageRef, paths: ImagePaths, client: Client, progress: Progress, env: Mapping[str, str]
) -> Fetched:
    """Download and verify an image; it is then complete in `paths.partial`.

    Raises UsageError for a date that has no image, VclawError where anything else fails.
    """
    base, keys = server(env), keyring(env)
    where, sums = _find(ref, base, keys, client)
    sha256 = sums.sha256(where.file)
    try:
        wanted = download.Wanted(where.url, sha256, ref.name)
        download.fetch(wanted, paths, client, progress)
    except download.WrongDigestError:
        # `release` may have moved on between the list and the image: then the list is new.
        where, sums = _find(ref, base, keys, client)
        if sums.sha256(where.file) == sha256:
            raise
        progress.say(f"{ref.name} was released anew just now; fetching the new one")
        sha256 = sums.sha256(where.file)
        wanted = download.Wanted(where.url, sha256, ref.name)
        download.fetch(wanted, paths, client, progress)
    return Fetched(sha256, where.url, sums)


def newest(ref: ImageRef, client: Client, env: Mapping[str, str]) -> str:
    """The sha256 in hex that the server's signed list names for this image now."""
    where, sums = _find(ref, server(env), keyring(env), client)
    return sums.sha256(where.file)


def _find(ref: ImageRef, base: str, keys: Path, client: Client) -> tuple[Location, SignedList]:
    """Where the image is, and the list that names its sha256."""
    for where in locations(ref, base):
        try:
            sums = _signed_sums(where.folder, keys, client)
        except StatusError as error:
            if error.status != 404:
                raise
            continue
        if sums.sha256(where.file):
            return where, sums
    raise _not_there(ref, base, client)


def _signed_sums(folder: str, keys: Path, client: Client) -> SignedList:
    url = f"{folder}/SHA256SUMS"
    data, signature = client.read(url), client.read(f"{url}.gpg")
    try:
        signed_by = verify.signer(data, signature, keys, url)
    except verify.BadSignatureError:
        # The two files may be of two releases, when one came out in between: ask once more.
        again, signature_again = client.read(url), client.read(f"{url}.gpg")
        if (again, signature_again) == (data, signature):
            raise
        data, signature = again, signature_again
        signed_by = verify.signer(data, signature, keys, url)
    return SignedList(data, signature, signed_by)


def _not_there(ref: ImageRef, base: str, client: Client) -> VclawError:
    moving = f"ubuntu:{ref.version}"
    message = f"{base} has no {ref.name} for {ref.arch}."
    if not ref.serial:
        return VclawError(message, "`vclaw image ls` shows the other images.")
    codename = locations(ref, base)[1].folder.split("/")[-2]
    try:
        dates = dated_releases(
            client.read(f"{base}/releases/{codename}/").decode("utf-8", "replace")
        )
    except VclawError:
        dates = []
    shown = ", ".join(f"{moving}@{date}" for date in dates[:SHOWN_DATES])
    hint = f"Old builds are removed from the server. Take {moving}, the newest"
    return UsageError(message, hint + (f"; with a date there are {shown}." if shown else "."))
