"""Whether a model provider's key is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vclaw import providers
from vclaw.model import ClawSpec, ImageRef
from vclaw.paths import ClawPaths

SPEC = ClawSpec("demo", ImageRef("debian", "12", "amd64"), "1", Path("/me"), 1, 2048, 9, 1, 2)


@pytest.mark.parametrize(
    "name",
    ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEYS", "HF_TOKEN", "OPENAI_API_KEY_2"],
)
def test_a_providers_variable_is_a_key(name: str) -> None:
    assert providers.configured([name], [])


@pytest.mark.parametrize("name", ["GREETING", "TELEGRAM_BOT_TOKEN", "PATH", "API_KEYRING"])
def test_another_variable_is_none(name: str) -> None:
    assert not providers.configured([name], [])


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, False),
        ({"models": {"catalogRefresh": {"enabled": False}}}, False),
        ({"models": {"providers": {}}}, False),
        ({"models": {"providers": {"local": {"baseUrl": "http://10.0.2.2:1"}}}}, True),
        ({"auth": {"profiles": {"anthropic:default": {"mode": "oauth"}}}}, True),
        ({"env": {"OPENAI_API_KEY": "x"}}, True),
        ({"env": {"vars": {"OPENAI_API_KEY": "x"}}}, True),
        ({"env": {"vars": "odd"}, "models": 7, "auth": []}, False),
        ("{models: {providers: {a: 1}}, // JSON5\n}", True),
        ("{gateway: {port: 1}, // JSON5\n}", False),
    ],
)
def test_openclaws_own_configuration_counts(config: Mapping[str, Any] | str, found: bool) -> None:
    assert providers.configured([], [config]) is found


def test_the_state_folder_counts(tmp_path: Path) -> None:
    paths = ClawPaths(tmp_path)
    paths.state.mkdir()
    assert not providers.of_claw(paths, SPEC)
    (paths.state / ".env").write_text("# keys\nexport OPENAI_API_KEY=x\n")
    assert providers.of_claw(paths, SPEC)


def test_a_link_or_a_pipe_that_the_guest_made_is_not_opened(tmp_path: Path) -> None:
    paths = ClawPaths(tmp_path)
    paths.state.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("OPENAI_API_KEY=x\n")
    (paths.state / ".env").symlink_to(outside)
    os.mkfifo(paths.state / "openclaw.json")
    assert not providers.of_claw(paths, SPEC)
