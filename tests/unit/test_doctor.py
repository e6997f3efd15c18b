"""The checklist: what fails, what warns, and how it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.golden import check
from vclaw import doctor, fsutil, hostfacts
from vclaw.cli.doctor import text
from vclaw.doctor import Claw, Facts, Finding, Tool
from vclaw.home import Home
from vclaw.hypervisor.machine import Accelerator
from vclaw.progress import Silent

GOLDEN = Path(__file__).with_name("golden_looking")

TOOLS = tuple(
    Tool(program, stage, f"/usr/bin/{program}")
    for stage, program in (
        ("ubuntu images", "gpgv"),
        ("ubuntu images", "qemu-img"),
        ("debian images", "mmdebstrap"),
        ("runtime", "mksquashfs"),
        ("seed", "ssh-keygen"),
        ("work in a claw", "ssh"),
    )
)

GOOD = Facts(
    system="linux",
    arch="amd64",
    cpus=8,
    memory_mib=32000,
    memory_available_mib=20000,
    folders=[("/home/me/.vclaw", 90000, "")],
    qemu="QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)",
    accelerator=Accelerator("kvm"),
    tools=TOOLS,
    server="https://cloud-images.ubuntu.com",
    cached_images=["ubuntu:24.04"],
    runtime_cached=True,
    claws=[Claw("demo", "ready")],
)


def without(*programs: str) -> Sequence[Tool]:
    return [
        Tool(tool.program, tool.stage, hint=f"Install {tool.program}.")
        if tool.program in programs
        else tool
        for tool in TOOLS
    ]


def test_a_host_without_the_wall_is_not_fit_and_says_what_is_missing() -> None:
    facts = replace(GOOD, wall_problem=("pasta is not installed.", "Install passt."))
    finding = next(item for item in doctor.checklist(facts) if item.name == "wall")
    assert finding == Finding("wall", "fail", "pasta is not installed.", "Install passt.")
    assert levels(GOOD)["wall"] == "ok"
    assert levels(replace(facts, wall_off=True))["wall"] == "warn"


def levels(facts: Facts) -> dict[str, str]:
    return {item.name: item.level for item in doctor.checklist(facts)}


def test_a_good_host_reads_like_the_golden_text() -> None:
    findings = doctor.checklist(GOOD)
    assert doctor.fit(findings)
    check(text(findings), GOLDEN / "doctor-good.txt")


def test_a_bad_host_reads_like_the_golden_text() -> None:
    bad = replace(
        GOOD,
        memory_available_mib=1000,
        folders=[("/small", 100, ""), ("/closed", 9000, "/closed is closed to this user")],
        qemu="",
        qemu_hint="qemu-system-x86_64 is not installed. sudo apt-get install qemu-system-x86.",
        accelerator=None,
        tools=without("gpgv", "mmdebstrap", "ssh-keygen"),
        port_holder="",
        next_port=18790,
        server_problem="no answer in time",
        cached_images=[],
        damage=[("/c/image.img is damaged: its size is not 7 bytes.", "Fetch it again.")],
        claws=[
            Claw("demo", "exited", "The virtual machine ended by itself.", "/gone"),
            Claw("odd", "broken", "claw.json is damaged."),
        ],
    )
    findings = doctor.checklist(bad)
    assert not doctor.fit(findings)
    check(text(findings), GOLDEN / "doctor-bad.txt")


def test_every_finding_that_is_not_ok_says_what_to_do() -> None:
    emulated = Accelerator("tcg", "KVM does not work here, so the claw is emulated.")
    facts = replace(GOOD, accelerator=emulated, port_holder="", tools=without("ssh", "gpgv"))
    for finding in doctor.checklist(facts):
        assert finding.level == "ok" or finding.hint, finding


def test_emulation_and_a_silent_server_warn_and_do_not_fail() -> None:
    facts = replace(
        GOOD, accelerator=Accelerator("tcg", "Slow."), server_problem="no answer in time"
    )
    assert levels(facts)["accelerator"] == "warn"
    assert levels(facts)["image server"] == "warn"
    assert doctor.fit(doctor.checklist(facts))


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (replace(GOOD, cached_images=[], tools=without("mmdebstrap")), "ok"),
        (replace(GOOD, cached_images=[], tools=without("gpgv")), "ok"),
        (replace(GOOD, tools=without("gpgv", "mmdebstrap")), "ok"),
        (replace(GOOD, cached_images=[], tools=without("gpgv", "mmdebstrap")), "fail"),
        (replace(GOOD, cached_images=[], server_problem="x", tools=without("mmdebstrap")), "fail"),
    ],
)
def test_an_image_is_cached_downloaded_or_built_or_none_can_be_had(
    facts: Facts, level: str
) -> None:
    assert levels(facts)["image"] == level


def test_a_tool_whose_work_is_cached_is_not_needed() -> None:
    missing = replace(GOOD, tools=without("mksquashfs"))
    assert levels(missing)["tools: runtime"] == "warn"
    assert levels(replace(missing, runtime_cached=False))["tools: runtime"] == "fail"


def test_the_default_port_in_a_claws_hands_is_as_it_should_be() -> None:
    assert levels(replace(GOOD, port_holder="demo"))["port 18789"] == "ok"
    assert levels(replace(GOOD, port_holder="", next_port=18790))["port 18789"] == "warn"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)", (7, 2)),
        ("QEMU emulator version 10.0.0", (10, 0)),
        ("something else", None),
    ],
)
def test_qemus_version_is_read_from_what_it_prints(
    said: str, version: tuple[int, int] | None
) -> None:
    assert doctor.qemu_version(said) == version


def test_an_old_qemu_warns() -> None:
    assert levels(replace(GOOD, qemu="QEMU emulator version 6.2.0"))["qemu"] == "warn"


def damage(home: Home, *, deep: bool) -> list[Finding]:
    found = [*hostfacts._runtime_damage(home, Silent(), deep)]
    return doctor._cache(replace(GOOD, damage=found, deep=deep))


def runtime_disk(home: Home, content: bytes, digest: str) -> Path:
    paths = home.runtime("openclaw-1")
    paths.root.mkdir(parents=True)
    paths.disk.write_bytes(content)
    manifest = {
        "schema": 1,
        "openclaw": "2026.9.6",
        "node": "24",
        "arch": "amd64",
        "recipe": "",
        "digest": f"sha256:{digest}",
        "size": len(content),
        "built_at": "",
        "lock": None,
    }
    fsutil.write_json(paths.manifest, manifest)
    return paths.disk


def test_a_changed_byte_is_found_by_deep_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    disk = runtime_disk(home, b"squash", hashlib.sha256(b"squash").hexdigest())
    assert damage(home, deep=True)[0].level == "ok"
    disk.write_bytes(b"sqUash")
    assert damage(home, deep=False)[0].level == "ok"
    (finding,) = damage(home, deep=True)
    assert finding.level == "fail"
    assert "its digest is sha256:" in finding.found


def test_a_shorter_file_is_found_without_deep(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    runtime_disk(home, b"squash", "0" * 64).write_bytes(b"squ")
    assert damage(home, deep=False)[0].level == "fail"


def test_a_folder_to_come_is_judged_by_the_one_above_it(tmp_path: Path) -> None:
    assert hostfacts._folder(tmp_path / "a" / "b")[2] == ""
    (tmp_path / "file").write_text("")
    assert "is not a folder" in hostfacts._folder(tmp_path / "file" / "b")[2]
    assert not (tmp_path / "a").exists()
