"""What a bench says of two reports: ratios always, times on one machine alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import changes

HERE = {"cpu": "A", "cores": 2}
ELSEWHERE = {"cpu": "B", "cores": 2}


def result(what: str, ratio: float, seconds: float, limit: float | None = None) -> dict[str, Any]:
    return {
        "what": what,
        "against": "cp",
        "limit": limit,
        "ratio": ratio,
        "ours_median": seconds,
        "theirs_median": seconds / ratio,
    }


def report(machine: dict[str, Any], *results: dict[str, Any]) -> dict[str, Any]:
    return {"measured_at": "2026-01-01T00:00:00+00:00", "machine": machine, "results": [*results]}


def test_on_one_machine_ratios_and_times_are_compared() -> None:
    then, now = report(HERE, result("disk", 1.0, 2.0)), report(HERE, result("disk", 1.5, 3.0))
    (change,) = changes.changes(then, now)
    assert (change.ratio_then, change.ratio_now) == (1.0, 1.5)
    assert (change.time_then, change.time_now) == (2.0, 3.0)
    assert change.verdict == "more"
    assert "1.50" in changes.text(then, now)


def test_of_another_machine_ratios_alone_are_compared_and_the_difference_is_named() -> None:
    then, now = report(HERE, result("disk", 1.0, 2.0)), report(ELSEWHERE, result("disk", 1.0, 8.0))
    (change,) = changes.changes(then, now)
    assert (change.time_then, change.time_now) == (None, None)
    shown = changes.text(then, now)
    assert "cpu: A -> B" in shown
    assert "cores" not in shown
    assert "4.00" not in shown


@pytest.mark.parametrize(
    ("now", "verdict"), [(1.04, ""), (0.96, ""), (1.06, "more"), (0.9, "less")]
)
def test_what_changed_by_little_is_as_it_was(now: float, verdict: str) -> None:
    found = changes.changes(
        report(HERE, result("disk", 1.0, 2.0)), report(HERE, result("disk", now, 2.0))
    )
    assert found[0].verdict == verdict


def test_a_ratio_over_its_limit_is_called_so_even_where_it_did_not_change() -> None:
    both = report(HERE, result("disk", 1.2, 2.0, limit=1.1))
    assert changes.changes(both, both)[0].verdict == "over its limit"


def test_what_only_one_report_has_is_not_compared_and_the_new_is_named() -> None:
    then = report(HERE, result("gone", 1.0, 1.0))
    now = report(HERE, result("new", 1.0, 1.0))
    assert changes.changes(then, now) == []
    shown = changes.text(then, now)
    assert "Not in the baseline: new" in shown
    assert "gone" not in shown


def test_a_baseline_keeps_what_was_not_measured_anew() -> None:
    then = report(HERE, result("disk", 1.0, 1.0), result("seed", 2.0, 1.0))
    kept = changes.kept(then, report(HERE, result("seed", 3.0, 1.0)))
    assert [(one["what"], one["ratio"]) for one in kept["results"]] == [
        ("disk", 1.0),
        ("seed", 3.0),
    ]


def test_a_baseline_is_of_one_machine() -> None:
    then = report(HERE, result("disk", 1.0, 1.0))
    now = report(ELSEWHERE, result("seed", 3.0, 1.0))
    assert changes.kept(then, now) == now


def test_parts_of_a_boot_that_are_none_any_more_leave_the_baseline() -> None:
    then = report(HERE, result("unit: old.service", 0.1, 1.0), result("ps", 2.0, 1.0))
    kept = changes.kept(then, report(HERE, result("unit: new.service", 0.1, 1.0)))
    assert [one["what"] for one in kept["results"]] == ["ps", "unit: new.service"]


def test_without_a_report_the_command_says_what_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["changes", str(tmp_path / "none.json")])
    assert changes.main() == 2
    assert "make bench" in capsys.readouterr().err


def test_the_command_prints_the_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, ratio in (("then", 1.0), ("now", 2.0)):
        value = report(HERE, result("disk", ratio, 1.0))
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    words = ["changes", str(tmp_path / "now.json"), "--baseline", str(tmp_path / "then.json")]
    monkeypatch.setattr("sys.argv", words)
    assert changes.main() == 0
    assert "2.00" in capsys.readouterr().out
