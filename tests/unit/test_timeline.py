"""Where the time went: what is recorded, what becomes of it, and the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.golden import check
from vclaw import timeline, timeline_svg
from vclaw.paths import ClawPaths
from vclaw.timeline import Record, Stage

BEGAN = 1_790_000_000.0

READY: dict[str, Any] = {
    "passed": {
        "process alive": 0.0,
        "guest booted": 58.2,
        "seed applied": 61.0,
        "workspace mounted": 61.7,
        "gateway live": 150.4,
        "gateway ready": 168.8,
    },
    "steps": [
        {"name": "channel", "start": 51.0, "end": 53.6},
        {"name": "mounts", "start": 53.6, "end": 58.0},
        {"name": "settle", "start": 61.2, "end": 61.3},
    ],
}


def stage(name: str, start: float, end: float, outcome: str = "done") -> Stage:
    return Stage(name, BEGAN + start, BEGAN + end, outcome)


STAGES = (
    stage("prepare", 0.0, 0.3),
    stage("image", 0.3, 0.31, "cached"),
    stage("runtime", 0.31, 31.4),
    stage("disk", 31.4, 31.8),
    stage("seed", 31.8, 31.85),
    stage("boot", 31.85, 32.2),
    stage("ready", 32.2, 201.1),
)


def first_run() -> Record:
    return timeline.of_run(STAGES, READY)


def test_one_line_tells_every_phase_in_its_order() -> None:
    assert timeline.line(first_run()) == (
        "prepare 0.3 s, image 0.0 s, runtime 31.1 s, copy 0.4 s, seed 0.0 s, boot 0.4 s, "
        "guest 61.7 s, gateway 107.2 s"
    )


def test_phases_add_up_to_the_whole_run() -> None:
    assert sum(seconds for _, seconds in timeline.phases(first_run())) == pytest.approx(201.1)


def test_a_wait_that_failed_is_one_phase_and_shown_as_failed() -> None:
    stages = [*STAGES[:-1], replace(STAGES[-1], outcome="failed")]
    record = timeline.of_run(stages, {})
    assert timeline.phases(record)[-1] == ("waiting", pytest.approx(168.9))
    last = timeline.spans(record)[-1]
    assert (last.name, last.phase, last.outcome) == ("ready", "waiting", "failed")
    assert "stage ready failed after" in timeline_svg.draw(record, "demo", "")


def test_the_picture_is_the_golden_one() -> None:
    picture = timeline_svg.draw(first_run(), "demo", "2026-09-21 14:13:20 UTC")
    check(picture, Path(__file__).with_name("golden_looking") / "timeline.svg")


def test_the_picture_is_well_formed_whatever_the_guest_calls_its_steps() -> None:
    steps = [{"name": '</text><script>&"\x1b]\ud800', "start": 1.0, "end": 2.0}]
    record = timeline.of_run(STAGES, {**READY, "steps": steps})
    root = ElementTree.fromstring(timeline_svg.draw(record, "a<b>&", "now").encode())
    assert root.findall(".//{http://www.w3.org/2000/svg}script") == []


def test_every_bar_lies_within_the_picture_whatever_uptime_the_guest_claims() -> None:
    steps = [{"name": "long", "start": 5.0, "end": 1e12}, {"name": "far", "start": 1e9, "end": 2e9}]
    record = timeline.of_run(STAGES, {**READY, "steps": steps})
    root = ElementTree.fromstring(timeline_svg.draw(record, "demo", ""))
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        right = float(box.get("x", 0)) + float(box.get("width", 0))
        assert right <= timeline_svg.WIDTH
    assert "far" not in [span.name for span in timeline.spans(record)]


@pytest.mark.parametrize(
    "steps",
    [
        None,
        "no list",
        ["no step"],
        [{"name": "x"}],
        [{"name": "x", "start": "1", "end": 2}],
        [{"name": "x", "start": 3, "end": 2}],
        [{"name": "x", "start": float("nan"), "end": 2}],
        [{"name": "x", "start": True, "end": 2}],
    ],
)
def test_a_report_that_makes_no_sense_gives_no_steps(steps: object) -> None:
    assert timeline.of_run(STAGES, {"steps": steps}).steps == ()


def test_a_later_run_that_finds_the_machine_running_adds_its_wait() -> None:
    booted = timeline.of_run(STAGES[:-1], {})
    later = [
        stage("prepare", 300, 301),
        stage("boot", 301, 301, "cached"),
        stage("ready", 301, 401),
    ]
    merged = timeline.merge(booted, timeline.of_run(later, {"passed": {"gateway ready": 99.0}}))
    assert [s.name for s in merged.stages] == [s.name for s in STAGES]
    assert merged.stages[0] == STAGES[0]
    assert merged.passed == {"gateway ready": 99.0}


def test_a_run_that_boots_begins_a_new_record() -> None:
    again = timeline.of_run([stage("boot", 500, 501), stage("ready", 501, 601)], READY)
    assert timeline.merge(first_run(), again) == again


def test_what_was_kept_is_read_again_unchanged(tmp_path: Path) -> None:
    paths = ClawPaths(tmp_path)
    (tmp_path / "ready.json").write_bytes(timeline.fsutil.json_bytes({"schema": 1, **READY}))
    assert timeline.keep(paths, STAGES, running=False) == first_run()
    assert timeline.load(paths) == first_run()


def test_a_run_in_which_all_was_cached_keeps_and_says_nothing(tmp_path: Path) -> None:
    cached = [stage("prepare", 0, 1), stage("boot", 1, 1, "cached"), stage("ready", 1, 1, "cached")]
    assert timeline.keep(ClawPaths(tmp_path), cached, running=True) is None
    assert list(tmp_path.iterdir()) == []


def test_stages_that_looked_again_at_a_running_machine_change_nothing(tmp_path: Path) -> None:
    paths = ClawPaths(tmp_path)
    timeline.keep(paths, STAGES, running=False)
    before = paths.timeline.read_bytes()
    again = [stage("seed", 500, 501), stage("boot", 501, 502), stage("ready", 502, 502, "cached")]
    assert timeline.keep(paths, again, running=True) is None
    assert paths.timeline.read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9}', '{"schema": 1, "stages": [7]}'])
def test_a_damaged_timeline_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "timeline.json").write_text(text)
    assert timeline.load(ClawPaths(tmp_path)) is None


@pytest.mark.parametrize("total", [0.05, 0.9, 7, 61, 201, 3599, 50_000, 1e6])
def test_the_axis_has_few_round_lines(total: float) -> None:
    lines = timeline_svg.ticks(total)
    assert lines[0] == 0
    assert lines[-1] <= total
    assert len(lines) <= timeline_svg.TICKS_MAX + 1
