"""The machine facts of a report."""

from __future__ import annotations

import pytest

from tests.bench import host


def test_the_processors_name_is_that_of_the_first() -> None:
    text = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nprocessor\t: 1\nmodel name\t: Other\n"
    assert host.cpu_model(text) == "AMD EPYC 7B13"


def test_a_cpuinfo_without_names_has_none() -> None:
    assert host.cpu_model("processor\t: 0\nCPU part\t: 0xd0c\n") == ""


def test_a_report_says_what_a_figure_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCLAW_ACCEL", "tcg")  # needs no trial
    facts = host.facts()
    wanted = {"cpu", "cores", "memory_mib", "kernel", "python", "qemu", "accelerator"}
    assert facts.keys() == wanted
    assert facts["accelerator"] in ("tcg", "")
    assert int(facts["cores"]) > 0
    assert int(facts["memory_mib"]) % host.MEMORY_STEP_MIB == 0
