"""The parts of a run: those in their order fill the time from its begin to ready."""

from __future__ import annotations

import pytest

from tests.bench import boot, run, stages
from tests.bench.stages import Sample
from tests.unit.bench.test_bench_guest import sample
from vclaw.timeline import Record, Stage

BEGAN = 1_000_000.0

ZERO = BEGAN + 4.0
"""When the guest's clock began."""

READY = ZERO + 320.0

RECORD = Record(
    (
        Stage("prepare", BEGAN, BEGAN + 0.5),
        Stage("image", BEGAN + 0.5, BEGAN + 0.5, "cached"),
        Stage("disk", BEGAN + 0.5, BEGAN + 1.5),
        Stage("seed", BEGAN + 1.5, BEGAN + 1.75),
        Stage("boot", BEGAN + 1.75, BEGAN + 2.0),
        Stage("ready", BEGAN + 2.0, READY),
    ),
    {"process alive": 0.0, "guest booted": 30.0, "workspace mounted": 40.0, "gateway ready": 322.0},
    (Stage("mounts", 38.0, 41.0), Stage("hostname", 37.0, 37.1)),
)

KERNEL = """\
[    0.000000] bench kernel: Linux version 6.1.0-40-cloud-amd64
[    5.250000] bench kernel: Run /init as init process
"""

TEXTS = {
    "analyze": "",
    "chain": "",
    "manager": "UserspaceTimestampMonotonic=9500000\n",
    "units": (
        "Id=slow.service\nInactiveExitTimestampMonotonic=10000000\n"
        "ActiveEnterTimestampMonotonic=14000000\nActiveExitTimestampMonotonic=0\n"
        "\n"
        "Id=quick.service\nInactiveExitTimestampMonotonic=10000000\n"
        "ActiveEnterTimestampMonotonic=10100000\nActiveExitTimestampMonotonic=0\n"
    ),
    "cloud-init": "",
    "kernel": KERNEL,
    "gateway": sample("gateway"),
}

SAMPLE = Sample(RECORD, ZERO, TEXTS)


def test_the_parts_in_their_order_add_up_to_the_whole_run() -> None:
    ordered = [
        seconds for (kind, _), seconds in stages.parts(SAMPLE).items() if kind not in stages.DETAILS
    ]
    assert sum(ordered) == pytest.approx(READY - BEGAN)


def test_the_guests_part_is_split_where_its_kernel_and_its_system_say() -> None:
    found = stages.parts(SAMPLE)
    assert found["host", "copy"] == pytest.approx(1.0)
    assert found["guest", "before the kernel's clock"] == pytest.approx(2.0)
    assert found["guest", "kernel"] == pytest.approx(5.25)
    assert found["guest", "initrd"] == pytest.approx(4.25)
    assert found["guest", "userspace until OpenClaw"] == pytest.approx(46.382626 - 9.5)
    assert found["gateway", "until vclaw knows"] == pytest.approx(320.0 - 316.997931)


def test_a_guest_whose_journal_tells_nothing_of_the_gateway_still_fills_the_time() -> None:
    silent = Sample(RECORD, ZERO, {**TEXTS, "gateway": "-- No entries --"})
    found = {key: value for key, value in stages.parts(silent).items() if key[0] != "unit"}
    assert found["guest", "userspace, OpenClaw"] == pytest.approx(320.0 - 9.5)


def test_details_that_take_little_are_left_out_and_the_longest_come_first() -> None:
    names = [result.what for result in stages.results([SAMPLE, SAMPLE], [324.0, 324.0])]
    assert "unit: slow.service" in names
    assert "unit: quick.service" not in names
    assert "step: mounts" in names
    assert "step: hostname" not in names
    traces = [name for name in names if name.startswith("trace: ")]
    assert traces[0] == "trace: cli.main.gateway-run-bootstrap"
    assert len(traces) == stages.DETAILS_MOST


def test_a_parts_ratio_is_its_share_of_the_run() -> None:
    results = {result.what: result for result in stages.results([SAMPLE], [324.0])}
    assert results["guest: kernel"].ratio == pytest.approx(5.25 / 324)


def test_what_was_done_by_hand_too_stands_beside_it() -> None:
    by_hand = run.ByHand(mounted=40.0, ready=300.0)
    times = boot.Times([324.0], [by_hand], cp=[0.8], xorriso=[0.1], samples=[SAMPLE])
    found = {result.what: result for result in boot.floors(times)}
    whole = found[f"boot: {run.IMAGE_REF} to ready"]
    assert whole.ratio == pytest.approx(324 / 300)
    assert whole.limit == 1.1
    assert found["boot: copy"].ratio == pytest.approx(1.0 / 0.8)
    assert found["boot: guest to mounts"].ratio == pytest.approx(40.25 / 40)
    assert found["boot: gateway"].ratio == pytest.approx((322.0 - 40.0) / 260)
