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


Unit = dict[str, str]


@pytest.fixture
def service(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Unit]:
    """What systemd says of the gateway, a look each and then the last one again.

    The guest has booted and its gateway is silent until it is started anew, which adds `renewed`.
    """
    world.turn("not-ready")
    world.run("boot")
    monkeypatch.setattr("vclaw.readiness.SERVICE_SECONDS", 0.01)
    monkeypatch.setattr("vclaw.gateway.probe", lambda *_, **__: False)
    units: list[Unit] = []
    report = {
        "applied": fsutil.read_json(world.paths.guest)["generation"],
        "mounts": ["/workspace"],
    }

    def ask(_path: object, op: str, _timeout: float, **told: object) -> dict[str, Any]:
        if op == "environment":
            assert told["generation"] == report["applied"]
            units[-1] = {**units[-1], "renewed": "yes"}
            return {}
        if op == "unit":
            return units.pop(0) if len(units) > 1 else units[0]
        return {"status": report, "journal": {"text": "unknown key: colour"}}[op]

    monkeypatch.setattr(channel, "ask", ask)
    return units


FAILED = {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "10"}


def active(restarts: int) -> Unit:
    return {"ActiveState": "active", "ExecMainStatus": "0", "NRestarts": str(restarts)}


def test_a_gateway_that_systemd_gives_up_shows_the_check_and_its_journal(
    world: World, service: list[Unit]
) -> None:
    service += [active(0), active(1), FAILED]
    with pytest.raises(VclawError, match="exit status 78 and stays down: 'gateway live'") as caught:
        wait(world, timeout=1000.0)
    assert "unknown key: colour" in caught.value.hint
    assert "`vclaw start demo` tries again" in caught.value.hint
    assert "renewed" not in service[-1]


def test_a_gateway_that_was_given_up_before_is_started_anew_once(
    world: World, service: list[Unit]
) -> None:
    service += [FAILED, FAILED]
    with pytest.raises(VclawError, match="exit status 78 and stays down"):
        wait(world, timeout=1000.0)
    assert service == [{**FAILED, "renewed": "yes"}]


def test_a_gateway_that_was_given_up_before_and_is_mended_becomes_ready(
    world: World, service: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    service += [FAILED, active(0)]
    monkeypatch.setattr("vclaw.gateway.probe", lambda *_, **__: "renewed" in service[-1])
    assert "6 of 6: gateway ready" in wait(world)[-1]


def test_starts_that_fail_one_after_another_are_not_waited_for_to_the_end(
    world: World, service: list[Unit]
) -> None:
    """Those before this wait do not count: the cause may have been mended since."""
    service += [active(number) for number in (5, 5, 6, 7, 8)]
    with pytest.raises(VclawError, match="ended 3 times while it started") as caught:
        wait(world, timeout=1000.0)
    assert "unknown key: colour" in caught.value.hint


@pytest.mark.parametrize(("free", "full"), [(4096, True), (2**30, False), (None, False)])
def test_a_full_disk_is_told_whatever_openclaw_says_of_it(
    world: World,
    service: list[Unit],
    monkeypatch: pytest.MonkeyPatch,
    free: int | None,
    full: bool,
) -> None:
    plain = readiness.guest_report
    monkeypatch.setattr(
        readiness, "guest_report", lambda *of: {**(plain(*of) or {}), "disk_free": free}
    )
    service += [active(number) for number in (0, 1, 2, 3)]
    with pytest.raises(VclawError, match="ended 3 times while it started") as caught:
        wait(world, timeout=1000.0)
    assert ("The guest's disk is full" in caught.value.hint) is full


def test_a_gateway_that_the_guest_cannot_start_anew_is_told_of(
    world: World, service: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise VclawError("The guest could not do environment: unknown.")

    monkeypatch.setattr(readiness, "renew", fail)
    service += [FAILED]
    with pytest.raises(VclawError, match="exit status 78 and stays down"):
        wait(world, timeout=1000.0)


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
