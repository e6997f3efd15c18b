"""`vclaw agent`: OpenClaw's JSON becomes an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

import pytest

from vclaw import ssh
from vclaw.cli import agent
from vclaw.cli.main import main

ANSWER: dict[str, Any] = {
    "runId": "1",
    "status": "ok",
    "summary": "completed",
    "result": {
        "payloads": [
            {"text": "One.\n", "mediaUrl": None},
            {"text": "Two.", "mediaUrls": ["/workspace/a.png"]},
            {"text": "", "mediaUrl": "/workspace/b.png"},
        ],
        "meta": {},
    },
}

TEXT = "One.\nTwo.\nAttachment: /workspace/a.png\nAttachment: /workspace/b.png"


@pytest.mark.parametrize(
    "answer", [{}, {"result": None}, {"result": {"payloads": 3}}, {"result": {"payloads": [3]}}]
)
def test_an_answer_of_another_shape_has_no_text(answer: dict[str, Any]) -> None:
    assert agent.text(answer) == ""


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the guest's command prints and its status; `words` is what was run."""
    told: dict[str, Any] = {"printed": json.dumps(ANSWER), "status": 0}

    def run(_paths: object, _spec: object, words: Sequence[str], stdout: IO[bytes]) -> int:
        told["words"] = list(words)
        stdout.write(told["printed"].encode())
        return int(told["status"])

    monkeypatch.setattr(ssh, "run", run)
    return told


@pytest.mark.usefixtures("up")
def test_the_answers_text_is_printed(
    turn: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agent", "demo", "--", "-x y"]) == 0
    assert capsys.readouterr().out == TEXT + "\n"
    assert turn["words"][-5:] == ["agent", "--agent", "main", "--message=-x y", "--json"]


@pytest.mark.usefixtures("up")
def test_a_turn_may_be_given_more_time(turn: dict[str, Any]) -> None:
    assert main(["agent", "demo", "hello", "--timeout-secs", "3600"]) == 0
    assert turn["words"][-1] == "--timeout=3600"


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "ten", "9" * 5000])
@pytest.mark.usefixtures("up", "turn")
def test_a_time_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "demo", "hello", f"--timeout-secs={text}"]) == 2
    assert "--timeout-secs is" in capsys.readouterr().err


@pytest.mark.usefixtures("up", "turn")
def test_json_is_openclaws_whole_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "demo", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER


@pytest.mark.parametrize(
    ("printed", "status", "expected", "said"),
    [
        ("no JSON", 1, 1, "gave no answer (exit status 1)"),
        ("", 0, 1, "gave no answer (exit status 0)"),
        ('{"status": "error", "summary": "no key"}', 1, 1, "The turn ended with error: no key."),
        ('{"status": "timeout"}', 1, 1, "The turn ran into its time limit of 600 s."),
        ("", 130, 130, ""),
    ],
)
@pytest.mark.usefixtures("up")
def test_a_turn_that_fails_is_told(
    turn: dict[str, Any],
    printed: str,
    status: int,
    expected: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    turn.update(printed=printed, status=status)
    assert main(["agent", "demo", "hello"]) == expected
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("up")
def test_a_time_limit_that_was_given_is_named_and_how_to_give_more(
    turn: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    payloads = [{"text": "Half of it."}, {"text": "Increase a setting.", "isError": True}]
    answer = {"status": "timeout", "summary": "aborted", "result": {"payloads": payloads}}
    turn.update(printed=json.dumps(answer), status=1)
    assert main(["agent", "demo", "hello", "--timeout-secs", "5"]) == 1
    said = capsys.readouterr()
    assert said.out == "Half of it.\n"
    assert "time limit of 5 s" in said.err
    assert "--timeout-secs" in said.err
