"""Whether OpenClaw has a key for any model provider, as far as the host can know."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vclaw import fsutil, identity
from vclaw.errors import VclawError
from vclaw.model import ClawSpec
from vclaw.paths import ClawPaths

KEY_NAME = re.compile(r"[A-Za-z0-9_]+_API_KEY(_\d+|S)?")
"""How OpenClaw's providers name the variable of their key, nearly all of them."""

OTHER_KEYS = frozenset(
    {
        "ANTHROPIC_OAUTH_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "COPILOT_GITHUB_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HF_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
    }
)
"""... and those that do not."""

CONFIG_WORDS = re.compile(r"\b(providers|profiles|apiKey)\b")
"""In a configuration with comments, which only OpenClaw's own parser reads."""

FILE_MAX = 2**20
"""Bytes of a file that is read for this: the guest can write it."""


def missing(name: str) -> str:
    """What is said once, before the wait, of the claw `name` that has no key."""
    return (
        "no model provider's key is configured: OpenClaw will start, and cannot answer. Give it "
        f"one with `vclaw env {name} set ANTHROPIC_API_KEY` (or OPENAI_API_KEY, …), which asks "
        f"for it, or once it runs with `vclaw openclaw {name} -- onboard`"
    )


def configured(env: Iterable[str], configs: Iterable[Mapping[str, Any] | str]) -> bool:
    """Whether one of these variables' names, or one of these configurations, is of a provider.

    A configuration is openclaw.json's object, or its text where it is no plain JSON.
    """
    if any(name in OTHER_KEYS or KEY_NAME.fullmatch(name) for name in env):
        return True
    return any(_has_provider(config) for config in configs)


def _has_provider(config: Mapping[str, Any] | str) -> bool:
    if isinstance(config, str):
        return CONFIG_WORDS.search(config) is not None
    for section, member in (("models", "providers"), ("auth", "profiles")):
        part = config.get(section)
        if isinstance(part, Mapping) and part.get(member):
            return True
    variables = config.get("env")
    if not isinstance(variables, Mapping):
        return False
    return configured(map(str, [*variables, *_mapping(variables.get("vars"))]), ())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def of_claw(paths: ClawPaths, spec: ClawSpec) -> bool:
    """`configured` for a claw: its stored variables, vclaw's settings and OpenClaw's own."""
    try:
        env = list(identity.load(paths).env)
        settings = _mapping(fsutil.read_json(paths.guest).get("openclaw"))
    except (OSError, VclawError):
        env, settings = [], {}
    state = paths.state_of(spec)
    lines = _text_of_guest(state / ".env").splitlines()
    env += [line.strip().removeprefix("export ").partition("=")[0].strip() for line in lines]
    return configured(env, (settings, _parsed(_text_of_guest(state / "openclaw.json"))))


def _parsed(text: str) -> Mapping[str, Any] | str:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return _mapping(value)


def _text_of_guest(path: Path) -> str:
    """The text of a small file that the guest can replace: no link is followed, no pipe opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return file.read(FILE_MAX).decode(errors="replace")
