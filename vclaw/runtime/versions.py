"""Which OpenClaw release is meant: a checked version number, or what npm calls latest."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.runtime import npm, recipe

_HINT = (
    f"Give a release such as {recipe.DEFAULT_VERSION}, or latest; "
    "`npm view openclaw versions` lists them."
)


def resolve(version: str, home: Home | None = None) -> str:
    """The release that `--openclaw-version` means, as a full number.

    npm is asked only for `latest` and for releases that are neither the default nor already
    built in `home`. Raises UsageError where the form is wrong or npm knows no such release,
    VclawError where npm cannot be asked.
    """
    if version != "latest" and not recipe.valid_version(version):
        raise UsageError(f"{version!r} is no OpenClaw version.", _HINT)
    if version == recipe.DEFAULT_VERSION or (home is not None and _built(home, version)):
        return version
    return _ask_npm(version)


def _built(home: Home, version: str) -> bool:
    return any(home.runtimes.glob(f"openclaw-{version}-*/manifest.json"))


def _ask_npm(version: str) -> str:
    # In an empty folder, so that no project's .npmrc or workspace has a say.
    with tempfile.TemporaryDirectory(prefix="vclaw-") as folder:
        try:
            words = ["view", f"openclaw@{version}", "version", "--loglevel=error"]
            answer = npm.npm(words, Path(folder)).strip()
        except VclawError as error:
            if unknown(error):
                raise unknown_version(version) from None
            raise
    # npm answers nothing at all for a number that no release has.
    if not recipe.valid_version(answer):
        raise unknown_version(version)
    return answer


def unknown(error: VclawError) -> bool:
    """Whether npm failed because the package registry has no such release."""
    return any(code in error.hint for code in ("E404", "ETARGET"))


def unknown_version(version: str) -> UsageError:
    """The error for a release that does not exist."""
    return UsageError(f"There is no OpenClaw release {version}.", _HINT)
