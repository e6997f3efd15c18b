"""The language model: what a user may say of it, and its part of OpenClaw's configuration."""

from __future__ import annotations

import pytest

from vclaw import llm
from vclaw.errors import UsageError


@pytest.mark.parametrize(
    "text",
    ["anthropic/claude-sonnet-4-5", "ollama/qwen3:8b", "openrouter/qwen/qwen3:free", "lm.x-1/a@q4"],
)
def test_a_model_is_provider_and_name(text: str) -> None:
    assert llm.check_model(text) == text


@pytest.mark.parametrize("text", ["", "gpt", "/x", "a/", "A/b", "-a/b", "a/b c", "a/b\n", "a/ü"])
def test_another_text_is_no_model(text: str) -> None:
    with pytest.raises(UsageError, match="--model is"):
        llm.check_model(text)


@pytest.mark.parametrize(
    ("text", "checked", "in_guest"),
    [
        ("http://127.0.0.1:1234/v1", "http://127.0.0.1:1234/v1", "http://10.0.2.2:1234/v1"),
        ("http://LOCALHOST:8080", "http://LOCALHOST:8080", "http://10.0.2.2:8080"),
        ("http://localhost/v1/", "http://localhost/v1", "http://10.0.2.2/v1"),
        ("http://0.0.0.0:11434/", "http://0.0.0.0:11434", "http://10.0.2.2:11434"),
        ("http://10.0.2.2:1/v1", "http://10.0.2.2:1/v1", "http://10.0.2.2:1/v1"),
        ("https://llm.example/v1", "https://llm.example/v1", "https://llm.example/v1"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("http://localhost.example:1", "http://localhost.example:1", "http://localhost.example:1"),
    ],
)
def test_a_base_url_of_this_host_is_another_one_in_the_guest(
    text: str, checked: str, in_guest: str
) -> None:
    assert llm.check_base_url(text) == checked
    assert llm.guest_url(checked) == in_guest


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:1234", "localhost/v1", "ftp://a/v1", "http://", "http:///v1"),
        *(
            "http://a:0/v1",
            "http://a:99999/v1",
            "http://a:x/v1",
            "http://[::1]:1/v1",
            "http://[::1",
        ),
        *("http://a/v1?key=1", "http://a/v1#x", "http://a b/v1", "http://a/\n", "http://ü/v1"),
    ],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--model-base-url is"):
        llm.check_base_url(text)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="a user's name in it") as caught:
        llm.check_base_url("http://me:planted@a/v1")
    assert "planted" not in caught.value.message + caught.value.hint


OLD = ("openai/gpt", "http://proxy/v1")


@pytest.mark.parametrize(
    ("model", "url", "chosen"),
    [
        (None, None, OLD),
        ("openai/other", None, ("openai/other", OLD[1])),
        ("anthropic/claude", None, ("anthropic/claude", "")),
        (None, "http://new", (OLD[0], "http://new")),
        ("a/b", "http://new/", ("a/b", "http://new")),
    ],
)
def test_a_base_url_belongs_to_its_provider(
    model: str | None, url: str | None, chosen: tuple[str, str]
) -> None:
    assert llm.choose(model, url, OLD) == chosen


def test_a_base_url_without_any_model_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say which model"):
        llm.choose(None, "http://127.0.0.1:1/v1")


def test_nothing_said_is_nothing_configured() -> None:
    assert llm.choose(None, None) == ("", "")
    assert llm.agent_settings("") == {}
    assert llm.provider_settings("", "") == {}


def test_a_known_provider_needs_its_name_alone() -> None:
    assert llm.agent_settings("openai/gpt-5") == {"model": {"primary": "openai/gpt-5"}}
    assert llm.provider_settings("openai/gpt-5", "") == {}


def test_an_openai_compatible_server_is_described_as_the_guest_sees_it() -> None:
    made = llm.provider_settings("lm-studio/qwen/q3", "http://localhost:1234/v1")
    assert made == {
        "providers": {
            "lm-studio": {
                "baseUrl": "http://10.0.2.2:1234/v1",
                "api": "openai-completions",
                "apiKey": "${LM_STUDIO_API_KEY}",
                "models": [{"id": "qwen/q3", "name": "qwen/q3"}],
            }
        }
    }


def test_a_key_that_is_referred_to_has_a_placeholder() -> None:
    made = llm.provider_settings("lm-studio/x", "http://proxy/v1")["providers"]["lm-studio"]
    assert made["apiKey"] == "${LM_STUDIO_API_KEY}"
    assert llm.placeholders("lm-studio/x", "http://proxy/v1") == {"LM_STUDIO_API_KEY": "no-key"}
    assert llm.placeholders("openai/gpt-5", "") == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"])
def test_ollama_is_asked_in_its_own_protocol(url: str) -> None:
    made = llm.provider_settings("ollama/qwen3:8b", url)["providers"]["ollama"]
    assert (made["baseUrl"], made["api"]) == ("http://10.0.2.2:11434", "ollama")


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:11434", 11434),
        ("http://localhost:1234/v1", 1234),
        ("http://10.0.2.2:8080/v1", 8080),
        ("http://127.0.0.1/v1", 80),
        ("https://localhost/v1", 443),
        ("https://models.example:8443/v1", None),
        ("", None),
    ],
)
def test_only_a_server_on_the_host_itself_takes_a_port_of_it(url: str, port: int | None) -> None:
    assert llm.host_port(url) == port
