"""Progress ends at 100.0%, in a log as on a terminal."""

from __future__ import annotations

import io

import pytest

from vclaw import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_few_lines_and_the_last_says_100() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress.Lines(stream, clock).task("fetching x", 100 * 2**20) as task:
        for _ in range(1000):
            clock.now += 0.01
            task.advance(2**20 // 10)
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 11
    assert lines[0].startswith("fetching x: 10.")
    assert lines[0].endswith("s left")
    assert lines[-1] == "fetching x: 100.0% of 100.0 MiB, 10.0 MiB/s, 10.0 s"


def test_slow_work_is_told_every_few_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress.Lines(stream, clock).task("x", 1000) as task:
        for _ in range(12):
            clock.now += 1
            task.advance(1)
    assert len(stream.getvalue().splitlines()) == 3


def test_work_that_fails_never_says_100() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError), progress.Lines(stream).task("x", 1000) as task:
        task.advance(1)
        raise OSError
    assert "100.0%" not in stream.getvalue()


def test_a_terminals_bar_ends_at_100_with_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Terminal().task("fetching x", 2**20) as task:
        task.advance(2**19)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fetching x: 100.0%" in shown.err
    assert "/s" in shown.err


def test_nothing_to_do_is_all_done() -> None:
    assert progress.line("x", 0, 0, 0.0) == "x: 100.0% of 0.0 MiB"
