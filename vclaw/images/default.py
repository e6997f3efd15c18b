"""Chooses the image of a run that names none."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vclaw.errors import VclawError
from vclaw.home import Home
from vclaw.images import catalogue, refs, store, ubuntu
from vclaw.model import ImageRef

ANSWER_SECONDS = 4.0
"""How long the image server gets to answer."""


def choose(home: Home, env: Mapping[str, str] = os.environ) -> tuple[ImageRef, str]:
    """The default image and a sentence that says why it is that one."""
    preferred = refs.parse(catalogue.PREFERRED, home=home)
    fallback = refs.parse(catalogue.FALLBACK, home=home)
    if _is_cached(home, preferred):
        return preferred, f"{preferred.name}, the default image, is cached"
    base = ubuntu.server(env)
    why_not = problem(preferred, base)
    if not why_not:
        return preferred, f"{preferred.name} is the default image, and {base} answers"
    how = "is cached" if _is_cached(home, fallback) else "is built here from Debian packages"
    return fallback, f"{fallback.name} {how}, since {base} does not answer ({why_not})"


def _is_cached(home: Home, ref: ImageRef) -> bool:
    try:
        return store.load(home, ref) is not None
    except VclawError:
        return False


def problem(ref: ImageRef, base: str) -> str:
    """Why the server `base` does not answer for an Ubuntu image, "" where it does."""
    import requests

    from vclaw.images.http import reason

    url = ubuntu.locations(ref, base)[0].folder + "/SHA256SUMS"
    try:
        timeout = (ANSWER_SECONDS, ANSWER_SECONDS)
        response = requests.head(url, timeout=timeout, allow_redirects=True)
    except requests.RequestException as error:
        return reason(error)
    return "" if response.ok else f"HTTP status {response.status_code}"
