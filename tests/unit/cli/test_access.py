"""Verbs that work in a guest say which command helps where they cannot."""

from __future__ import annotations

import pytest

from vclaw import hypervisor
from vclaw.cli.main import main
from vclaw.paths import ClawPaths

VERBS = [
    ["exec", "demo", "--", "true"],
    ["shell", "demo"],
    ["cp", "/etc/hostname", "demo:x"],
    ["cp", "demo:x", "."],
    ["logs", "demo"],
    ["logs", "demo", "--bootstrap", "-f"],
    ["openclaw", "demo", "--", "doctor"],
    ["agent", "demo", "hello"],
    ["open", "demo"],
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.usefixtures("home")
def test_a_stopped_claw_is_to_be_started(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines() == [
        "vclaw: demo is not running.",
        "       `vclaw start demo` boots it.",
    ]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.usefixtures("up")
def test_a_suspended_claw_is_to_be_resumed(
    words: list[str],
    paths: ClawPaths,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths.suspended.write_text("{}")
    monkeypatch.setattr(type(hypervisor.current()), "state", lambda *_: "paused")
    assert main(words) == 2
    assert "`vclaw resume demo`" in capsys.readouterr().err


@pytest.mark.parametrize("words", [*VERBS, ["ssh-config", "demo"]], ids=" ".join)
@pytest.mark.usefixtures("home")
def test_an_unknown_claw_is_named_with_the_nearest_one(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("demo", "dmo") for word in words]) == 2
    assert "Did you mean demo?" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_ssh_config_is_printed_for_a_stopped_claw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ssh-config", "demo"]) == 0
    assert capsys.readouterr().out.startswith("Host vclaw-demo\n  HostName 127.0.0.1\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exec", "demo"], "There is no command."),
        (["exec", "demo", "--"], "There is no command."),
        (["exec", "demo", "-t", "--", "true"], "-t needs a terminal"),
        (["exec", "-t", "demo", "--", "true"], "-t needs a terminal"),
        (["agent", "demo", " "], "The message is empty."),
        (["logs", "demo", "--kernel"], "nrecognized arguments: --kernel"),
        (["logs", "demo", "-n", "-3"], "-n"),
        (["logs", "demo", "-n", "ten"], "-n is 'ten'."),
        (["logs", "demo", "--serial", "--qemu"], "not allowed with"),
        (["cp", "a", "b"], "on the same side"),
        (["cp", "demo:a", "other:b"], "on the same side"),
        (["cp", "", "demo:b"], "A path is empty."),
        (["cp", "no-such-file", "demo:b"], "There is no no-such-file."),
        (["cp", "/", "demo:b"], "whole file system"),
        (["cp", "demo:/", "b"], "whole file system"),
    ],
)
@pytest.mark.usefixtures("home")
def test_bad_input_is_told_before_anything_else(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
