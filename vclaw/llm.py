"""The language model that OpenClaw shall use: what a user may say of it, and its configuration.

Keys as in OpenClaw's configuration reference (`agents.defaults.model`, `models.providers`).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from vclaw.errors import UsageError

HOST_FROM_GUEST = "10.0.2.2"
"""The host's loopback as a guest sees it: QEMU's user network leads it to 127.0.0.1."""

HOST_NAMES = frozenset({"127.0.0.1", "localhost", "0.0.0.0"})
"""How users call the address on which a server of their own machine listens."""

MODEL = re.compile(r"[a-z0-9][a-z0-9._-]*/[!-~]+")
"""provider/name; names of models have slashes and colons: `openrouter/qwen/qwen3:free`."""

NO_KEY = "no-key"
"""Servers on one's own machine want some key and take any."""

NATIVE_API = {"ollama": "ollama"}
"""Providers with a protocol of their own: OpenClaw's documentation warns that tool calls get lost
in Ollama's OpenAI-compatible one. Every other base URL is of an OpenAI-compatible server."""


def check_model(text: str) -> str:
    """A --model as it is; raises UsageError where it is not provider/name."""
    if MODEL.fullmatch(text) is None:
        raise UsageError(
            f"--model is {text!r}.",
            "Write PROVIDER/NAME, such as anthropic/claude-sonnet-4-5 or ollama/qwen3:8b.",
        )
    return text


def check_base_url(text: str) -> str:
    """A --model-base-url without a slash at its end; raises UsageError where it is no base URL."""
    problem, hint = _problem(text)
    if problem:
        raise UsageError(f"--model-base-url is {problem}", hint)
    return text.rstrip("/")


def _problem(text: str) -> tuple[str, str]:
    """What is wrong with a base URL, and a hint; ("", "") where it is one."""
    example = "Write it like http://127.0.0.1:1234/v1."
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return f"{text!r}, which is no URL.", example
    if "@" in parts.netloc:
        # The URL may hold a password: it is not shown.
        return "a URL with a user's name in it.", "Give the key with --env PROVIDER_API_KEY."
    if not (text.isascii() and text.isprintable() and " " not in text):
        return f"{text!r}, which is no URL.", example
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return f"{text!r}, which is no http or https URL.", example
    if parts.query or parts.fragment:
        return f"{text!r}, which goes on after the path.", example
    if parts.hostname == "::1":
        return (
            f"{text!r}, which a guest cannot reach.",
            f"Let the server listen on 127.0.0.1, and write http://127.0.0.1:{port or 80}.",
        )
    return "", ""


def guest_url(base_url: str) -> str:
    """A base URL as the guest has to write it: the host's own loopback is another address there."""
    parts: SplitResult = urlsplit(base_url)
    if parts.hostname not in HOST_NAMES:
        return base_url
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=HOST_FROM_GUEST + port).geturl()


def host_port(base_url: str) -> int | None:
    """The port of the host's own loopback that a base URL names, None where it names none."""
    parts: SplitResult = urlsplit(base_url)
    if parts.hostname not in {*HOST_NAMES, HOST_FROM_GUEST}:
        return None
    return parts.port or (443 if parts.scheme == "https" else 80)


def choose(
    model: str | None, base_url: str | None, before: tuple[str, str] = ("", "")
) -> tuple[str, str]:
    """(model, base URL) of what was said and what held `before`, "" for none.

    A base URL belongs to its provider: a --model of another one forgets it, so that no key is
    sent to the wrong server. Raises UsageError.
    """
    chosen = before[0] if model is None else check_model(model)
    if base_url is not None:
        if not chosen:
            raise UsageError(
                "--model-base-url alone does not say which model to ask for.",
                "Add --model PROVIDER/NAME, such as --model lmstudio/qwen3-8b.",
            )
        return chosen, check_base_url(base_url)
    same = provider(chosen) == provider(before[0])
    return chosen, before[1] if same else ""


def provider(model: str) -> str:
    """The provider of provider/name."""
    return model.partition("/")[0]


def key_variable(model: str) -> str:
    """The environment variable that holds its provider's key: `LM_STUDIO_API_KEY`."""
    return re.sub(r"[^A-Z0-9]", "_", provider(model).upper()) + "_API_KEY"


def agent_settings(model: str) -> dict[str, Any]:
    """The part of `agents.defaults` that makes `model` the agent's; {} where none was chosen."""
    return {"model": {"primary": model}} if model else {}


def placeholders(model: str, base_url: str) -> dict[str, str]:
    """The variables to which `provider_settings` refers, for where the user gives none.

    They count less than the user's, whose own may come and go while the claw runs.
    """
    return {key_variable(model): NO_KEY} if base_url else {}


def provider_settings(model: str, base_url: str) -> dict[str, Any]:
    """The part of `models` that says where `model` is; {} where OpenClaw knows it by itself.

    The provider's key is referred to and never copied.
    """
    if not base_url:
        return {}
    name, _, model_name = model.partition("/")
    url = guest_url(base_url)
    settings = {
        "baseUrl": url.removesuffix("/v1") if name in NATIVE_API else url,
        "api": NATIVE_API.get(name, "openai-completions"),
        "apiKey": f"${{{key_variable(model)}}}",
        # No sizes and no prices: what the user adds of them to openclaw.json stays.
        "models": [{"id": model_name, "name": model_name}],
    }
    return {"providers": {name: settings}}
