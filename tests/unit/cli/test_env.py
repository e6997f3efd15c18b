"""Where `vclaw env` takes a value from that no command line need hold."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from vclaw.cli import env
from vclaw.errors import UsageError


class Terminal(io.StringIO):
    """A standard input at which a person sits."""

    def isatty(self) -> bool:
        return True


def test_a_word_wins_over_a_file_and_a_key_alone_is_the_hosts(tmp_path: Path) -> None:
    file = tmp_path / "vars"
    file.write_text("# mine\nA=file\nB=file\nC\n")
    found = env.given_variables(
        ["A=word", "D"], [str(file)], stdin=False, host={"C": "host", "D": "host"}
    )
    assert found == {"A": "word", "B": "file", "C": "host", "D": "host"}


@pytest.mark.parametrize(("text", "value"), [("s3\n", "s3"), ("a\nb\n\n", "a\nb\n"), ("", "")])
def test_stdin_is_the_value_but_for_its_last_newline(
    monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert env.given_variables(["KEY"], [], stdin=True, host={"KEY": "host"}) == {"KEY": value}


def test_a_person_is_asked_without_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getpass(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", Terminal())
    found = env.given_variables(["A", "B"], [], stdin=False, host={"B": "host"})
    assert (found, asked) == ({"A": "typed", "B": "host"}, ["A: "])


@pytest.mark.parametrize("answer", ["", None])
def test_no_answer_is_no_value(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    def getpass(*_: object) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(UsageError, match="No value was given for A"):
        env.given_variables(["A"], [], stdin=False, host={})


@pytest.mark.parametrize("value", ["a\0b", "\udcff"])
def test_a_value_that_no_variable_can_have_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(value))
    with pytest.raises(UsageError, match="KEY") as caught:
        env.given_variables(["KEY"], [], stdin=True, host={})
    assert value not in caught.value.message


def test_a_word_that_names_no_variable_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        env.given_variables(["2=s3cret"], [], stdin=False, host={})
    assert "s3cret" not in caught.value.message + caught.value.hint
