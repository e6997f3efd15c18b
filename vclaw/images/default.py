"""Chooses the image of a run that names none."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vclaw.errors import VclawError
from vclaw.images import catalogue, refs, store, ubuntu
from vclaw.model import ImageRef
from vclaw.paths import Home

ANSWER_SECONDS = 4.0
"""How long the image server gets to answer."""


def choose(home: Home, env: Mapping[str, str] = os.environ) -> tuple[ImageRef, str]:
    """The default image and a sentence that says why it is that one."""
    preferred = refs.parse(catalogue.PREFERRED, home=home)
    fallback = refs.parse(catalogue.FALLBACK, home=home)
    if _is_cached(home, preferred):
        return preferred, f"{preferred.name}, the default image, is cached"
    base = ubuntu.server(env)
    problem = _problem(ubuntu.locations(preferred, base)[0].folder + "/SHA256SUMS")
    if not problem:
        return preferred, f"{preferred.name} is the default image, and {base} answers"
    how = "is cached" if _is_cached(home, fallback) else "is built here from Debian packages"
    return fallback, f"{fallback.name} {how}, since {base} does not answer ({problem})"


def _is_cached(home: Home, ref: ImageRef) -> bool:
    try:
        return store.load(home, ref) is not None
    except VclawError:
        return False


def _problem(url: str) -> str:
    """Why a small request fails, "" where it does not."""
    import requests

    from vclaw.images.http import reason

    try:
        timeout = (ANSWER_SECONDS, ANSWER_SECONDS)
        response = requests.head(url, timeout=timeout, allow_redirects=True)
    except requests.RequestException as error:
        return reason(error)
    return "" if response.ok else f"HTTP status {response.status_code}"
