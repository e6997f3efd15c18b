"""What a guest's own tools say of its start, read from samples of a real one (see samples/)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.bench import guest

SAMPLES = Path(__file__).with_name("samples")


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 2.345s", 62.345), ("833ms", 0.833), ("46.3s", 46.3), ("1h 2min 3s", 3723.0)],
)
def test_a_duration_as_systemd_writes_it(text: str, seconds: float) -> None:
    assert guest.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "3 apples", "5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        guest.duration(text)


def test_the_gateways_start_is_told_from_milestone_to_milestone_without_a_gap() -> None:
    parts = guest.gateway(sample("gateway"))
    assert [(part.name, round(part.seconds, 1)) for part in parts] == [
        ("files into memory", 12.1),
        ("node and the command line", 151.4),
        ("configuration", 6.7),
        ("authentication", 0.3),
        ("state and workers", 64.9),
        ("HTTP server", 12.8),
        ("after listening", 10.0),
        ("channels and sidecars", 12.6),
    ]
    for before, after in itertools.pairwise(parts):
        assert after.start == pytest.approx(before.end)


def test_of_a_gateway_that_was_started_again_the_last_start_is_told() -> None:
    first = "\n".join(sample("gateway").splitlines()[:20])
    again = [
        "[  400.000000] bench systemd[1]: Starting openclaw.service - OpenClaw gateway...",
        "[  402.000000] bench systemd[1]: Started openclaw.service - OpenClaw gateway.",
        "[  410.000000] bench openclaw[9]: 2026-11-24T17:05 [gateway] loading configuration…",
    ]
    parts = guest.gateway("\n".join([first, *again]))
    assert [(part.name, part.start, part.seconds) for part in parts] == [
        ("files into memory", 400.0, 2.0),
        ("node and the command line", 402.0, 8.0),
    ]


def test_a_journal_without_the_units_start_tells_nothing() -> None:
    assert guest.gateway("-- No entries --\n") == []


def test_the_startup_trace_is_told_once_the_longest_phase_first() -> None:
    parts = guest.traced(sample("gateway"))
    assert [(part.name, part.seconds) for part in parts[:3]] == [
        ("cli.main.gateway-run-bootstrap", pytest.approx(124.3548)),
        ("cli.command.config-ready", pytest.approx(124.3111)),
        ("cli.bootstrap.legacy-state-migrations", pytest.approx(35.7509)),
    ]
    assert not [part for part in parts if part.name.startswith("process.bootstrap")]
    # A line is written when its phase is over.
    assert parts[2].end == pytest.approx(194.554958)


def test_other_parts_of_openclaw_are_no_milestones() -> None:
    text = sample("gateway").replace("[gateway] ready", "[plugins] ready")
    assert [part.name for part in guest.gateway(text)][-1] == "after listening"


def test_systemds_summary_is_told_by_its_parts() -> None:
    found = guest.startup(sample("analyze"))
    assert found == {"kernel": pytest.approx(24.199), "userspace": pytest.approx(125.536)}


def test_a_boot_that_is_not_over_has_no_summary() -> None:
    assert guest.startup("Bootup is not yet finished (…). Please try again later.\n") == {}


def test_the_critical_chain_is_told_from_its_end_with_what_each_unit_took() -> None:
    chain = guest.critical_chain(sample("chain"))
    assert [part.name for part in chain[:3]] == [
        "graphical.target",
        "multi-user.target",
        "ssh.service",
    ]
    assert chain[-1].name == "-.slice"
    took = {part.name: part for part in chain}
    assert took["cloud-init-local.service"].start == pytest.approx(19.966)
    assert took["cloud-init-local.service"].seconds == pytest.approx(52.865)
    assert took["basic.target"].start == pytest.approx(79.068)
    assert took["basic.target"].seconds == 0.0


def test_units_take_what_systemd_analyze_blames_them_for() -> None:
    units = guest.units(sample("units"))
    took = {part.name: part.seconds for part in units}
    chain = guest.critical_chain(sample("chain"))
    blamed = [part for part in chain if part.name.endswith(".service")]
    assert len(blamed) == 4
    for part in blamed:
        assert took[part.name] == pytest.approx(part.seconds, abs=0.002)
    assert units == sorted(units, key=lambda part: -part.seconds)
    assert "system.slice" not in took


def test_when_systemd_began_is_when_the_kernels_part_was_over() -> None:
    (manager,) = guest.properties(sample("manager"))
    kernel = guest.startup(sample("analyze"))["kernel"]
    assert guest.moment(manager, "Userspace") == pytest.approx(kernel, abs=0.001)
    assert guest.moment(manager, "Firmware") == 0.0


def test_cloud_inits_modules_are_told_though_its_stages_have_no_start() -> None:
    parts = guest.cloud_init(sample("cloud-init"))
    took = {part.name: part for part in parts}
    assert parts[0].name == "init-local/check-cache"
    assert took["init-local/config-bootcmd"].seconds == pytest.approx(5.594)
    assert took["init-local/search-NoCloud"].start == pytest.approx(0.067)
    assert not {"init-local", "init-network", "modules-config"} & took.keys()


def test_of_a_log_with_several_boots_the_last_is_told() -> None:
    first = sample("cloud-init")
    second = "".join(line + "\n" for line in first.splitlines()[:2])
    assert [part.name for part in guest.cloud_init(first + second)] == ["init-local/check-cache"]


def test_the_kernels_log_says_when_it_handed_over() -> None:
    assert guest.init_started(sample("kernel")) == pytest.approx(8.7376)
    assert guest.init_started("") is None
