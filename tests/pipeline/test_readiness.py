"""The wait for a claw: what ends it, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.world import Lines, World
from vclaw import boot, channel, fsutil, readiness
from vclaw.errors import VclawError
from vclaw.readiness import CHECKS, Observation


def wait(world: World, timeout: float = 10.0) -> list[str]:
    progress = Lines()
    readiness.wait(world.paths, world.spec.gateway_port, timeout, progress)
    return progress.said


def test_every_check_is_counted_and_the_serial_log_is_named(world: World) -> None:
    world.run("boot")
    said = wait(world)
    assert str(world.paths.serial_log) in said[0]
    counted = [line.partition(": ")[::2] for line in said[1:]]
    assert [(count, name.rpartition(" (")[0]) for count, name in counted] == [
        (f"{number} of 6", check.name) for number, check in enumerate(CHECKS, 1)
    ]
    recorded = fsutil.read_json(world.paths.ready)
    assert list(recorded["passed"]) == [check.name for check in CHECKS]


def test_every_check_has_a_name_a_deed_and_a_hint() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) == 6
    assert all(check.done and check.hint.endswith(".") for check in CHECKS)


@pytest.mark.parametrize(
    ("report", "holds"),
    [
        (None, []),
        ({}, ["guest booted"]),
        ({"applied": "old", "mounts": []}, ["guest booted"]),
        ({"applied": "g1", "mounts": ["/other"]}, ["guest booted", "seed applied"]),
        (
            {"applied": "g1", "mounts": ["/workspace"]},
            ["guest booted", "seed applied", "workspace mounted"],
        ),
    ],
)
def test_the_guests_report_decides_its_checks(
    report: dict[str, Any] | None, holds: list[str]
) -> None:
    seen = Observation(True, report, "g1", 1)
    assert [check.name for check in CHECKS[1:4] if check.passed(seen)] == holds


def test_a_machine_that_does_not_run_is_not_waited_for(world: World) -> None:
    with pytest.raises(VclawError, match="ended before OpenClaw was ready"):
        wait(world)


def test_a_machine_that_ends_meanwhile_shows_its_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("boot")

    def end(_paths: object) -> None:
        world.paths.hypervisor_log.write_text("qemu: terminating on a whim\n")
        world.kill()

    monkeypatch.setattr(readiness, "guest_report", end)
    with pytest.raises(VclawError, match="ended before") as caught:
        wait(world)
    assert "terminating on a whim" in caught.value.hint


def test_a_guest_that_reports_an_error_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run("boot")
    monkeypatch.setattr(readiness, "guest_report", lambda _: {"error": "mounts: no 9p"})
    with pytest.raises(VclawError, match="could not apply its settings: mounts: no 9p"):
        wait(world, timeout=1000.0)
    assert boot.is_up(world.paths)


def test_a_gateway_that_systemd_gave_up_shows_its_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.turn("not-ready")
    world.run("boot")
    monkeypatch.setattr("vclaw.gateway.probe", lambda *_, **__: False)
    monkeypatch.setattr("vclaw.readiness.SERVICE_SECONDS", 0.1)

    def ask(_path: object, op: str, _timeout: float, **_: object) -> dict[str, Any]:
        answers: dict[str, dict[str, Any]] = {
            "status": {
                "applied": fsutil.read_json(world.paths.guest)["generation"],
                "mounts": ["/workspace"],
            },
            "unit": {"ActiveState": "failed", "ExecMainStatus": "78"},
            "journal": {"text": "unknown key: colour"},
        }
        return answers[op]

    monkeypatch.setattr(channel, "ask", ask)
    with pytest.raises(VclawError, match="exit status 78 and stays down") as caught:
        wait(world, timeout=1000.0)
    assert "unknown key: colour" in caught.value.hint


def test_a_run_of_before_counts_for_nothing(world: World) -> None:
    world.run()
    assert readiness.is_ready(world.paths, world.spec.gateway_port)
    recorded = fsutil.read_json(world.paths.ready)
    fsutil.write_json(world.paths.ready, {**recorded, "run": "another"})
    assert not readiness.is_ready(world.paths, world.spec.gateway_port)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}"])
def test_a_damaged_record_is_no_readiness(world: World, content: bytes | None) -> None:
    world.run()
    if content is None:
        world.paths.ready.unlink()
    else:
        world.paths.ready.write_bytes(content)
    assert not readiness.is_ready(world.paths, world.spec.gateway_port)
