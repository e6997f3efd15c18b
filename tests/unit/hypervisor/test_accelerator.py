"""The choice of the accelerator: its rules, its memory, and the trial's guest itself."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from pathlib import Path

import pytest

from vclaw import proc
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.hypervisor.qemu import accelerator
from vclaw.hypervisor.qemu.accelerator import Accelerator, Host, Outcome

QEMU = shutil.which("qemu-system-x86_64") or ""
needs_qemu = pytest.mark.skipif(not QEMU, reason="qemu-system-x86_64 is not installed")

LINUX = "linux"
IDENTITY = {"kernel": "6.1", "arch": "amd64"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "cache", tmp_path / "data")


class CountedTrial:
    """Stands for the trial: gives `outcome` and counts."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.runs = 0

    def __call__(self, words: list[str], passed: int) -> Outcome:
        assert "kvm" in words
        assert passed == 85
        self.runs += 1
        return self.outcome


def result(
    home: Home, trial: CountedTrial, cpus: int = 2, host: dict[str, str] = IDENTITY
) -> Accelerator:
    return accelerator.trial_result(home, "amd64", Path("/q"), cpus, host, trial)


@pytest.mark.parametrize(
    ("host", "arch", "name", "said"),
    [
        (Host(LINUX, "amd64"), "arm64", "tcg", "for arm64 and this host is amd64"),
        (Host(LINUX, "arm64"), "amd64", "tcg", "for amd64 and this host is arm64"),
        (Host(LINUX, "amd64", device="missing"), "amd64", "tcg", "no /dev/kvm"),
        (Host(LINUX, "amd64", device="denied"), "amd64", "tcg", "usermod -aG kvm"),
        (Host("darwin", "arm64", hvf=True), "arm64", "hvf", ""),
        (Host("darwin", "arm64", hvf=False), "arm64", "tcg", "kern.hv_support"),
        (Host("darwin", "arm64", hvf=True), "amd64", "tcg", "for amd64"),
        (Host("freebsd14", "amd64"), "amd64", "tcg", "freebsd14"),
        (Host(LINUX, "amd64", wanted="tcg"), "amd64", "tcg", "VCLAW_ACCEL"),
        (Host(LINUX, "amd64", device="missing", wanted="kvm"), "amd64", "kvm", ""),
        (Host("darwin", "arm64", wanted="hvf"), "arm64", "hvf", ""),
    ],
)
def test_the_host_decides_without_a_trial(host: Host, arch: str, name: str, said: str) -> None:
    decided = accelerator.decide(host, arch)
    assert decided is not None
    assert decided.name == name
    assert said in decided.reason
    assert bool(decided.reason) == (name == "tcg")


def test_a_usable_kvm_device_is_no_answer_without_a_trial() -> None:
    assert accelerator.decide(Host(LINUX, "amd64"), "amd64") is None


@pytest.mark.parametrize(
    ("host", "arch"),
    [
        (Host(LINUX, "amd64", wanted="hvf"), "amd64"),
        (Host("darwin", "arm64", wanted="kvm"), "arm64"),
        (Host(LINUX, "amd64", wanted="kvm"), "arm64"),
        (Host(LINUX, "amd64", wanted="fast"), "amd64"),
    ],
)
def test_an_impossible_wish_is_bad_input(host: Host, arch: str) -> None:
    with pytest.raises(UsageError, match="VCLAW_ACCEL="):
        accelerator.decide(host, arch)


def test_the_environment_is_where_the_wish_comes_from() -> None:
    assert accelerator.probe_host({"VCLAW_ACCEL": "tcg"}).wanted == "tcg"
    assert accelerator.probe_host({}).wanted == ""


def test_argv_of_the_amd64_trial() -> None:
    words = accelerator.argv(Path("/usr/bin/qemu-system-x86_64"), "amd64", 3)
    image = str(accelerator.image("amd64"))
    assert words == [
        "/usr/bin/qemu-system-x86_64",
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-machine", "q35,hpet=off"),
        *("-accel", "kvm"),
        *("-cpu", "host"),
        *("-smp", "3"),
        *("-m", "64M"),
        *("-kernel", image),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
        *("-debugcon", "stdio"),
    ]


def test_argv_of_the_arm64_trial_has_nothing_of_a_pc() -> None:
    words = accelerator.argv(Path("/q"), "arm64", 1)
    assert words[words.index("-machine") + 1] == "virt"
    assert not [word for word in words if "isa" in word or word == "-debugcon"]


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_the_trials_guest_is_shipped(arch: str) -> None:
    assert 0 < accelerator.image(arch).stat().st_size < 4096


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not (shutil.which("as") and shutil.which("ld")),
    reason="needs the x86-64 assembler and linker",
)
def test_the_shipped_guest_is_built_from_the_shipped_source(tmp_path: Path) -> None:
    source = accelerator.image("amd64").with_suffix(".S")
    built, linked = tmp_path / "trial.o", tmp_path / "trial.bin"
    proc.run(["as", "--64", source, "-o", built])
    flat = ["-m", "elf_x86_64", "-Ttext=0x100000", "--oformat", "binary"]
    proc.run(["ld", *flat, built, "-o", linked])
    assert linked.read_bytes() == accelerator.image("amd64").read_bytes()


@needs_qemu
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_the_trials_guest_passes_on_every_processor(cpus: int) -> None:
    words = accelerator.argv(Path(QEMU), "amd64", cpus, "tcg")
    outcome = accelerator.run_trial(words, accelerator.PASSED["amd64"], deadline=60)
    assert outcome == Outcome()


@needs_qemu
def test_a_processor_without_long_mode_fails_the_trial() -> None:
    words = accelerator.argv(Path(QEMU), "amd64", 1, "tcg")
    words[words.index("-cpu") + 1] = "qemu32"
    outcome = accelerator.run_trial(words, accelerator.PASSED["amd64"], deadline=2)
    assert outcome.cause


@needs_qemu
def test_a_guest_that_hangs_is_killed_at_the_deadline() -> None:
    words = [*accelerator.argv(Path(QEMU), "amd64", 1, "tcg"), "-S"]
    begun = time.monotonic()
    outcome = accelerator.run_trial(words, accelerator.PASSED["amd64"], deadline=1)
    assert "did not end within 1 s" in outcome.cause
    assert time.monotonic() - begun < 10


@needs_qemu
def test_a_guest_that_resets_is_no_pass(tmp_path: Path) -> None:
    # -no-reboot ends QEMU with status 0 after a triple fault; this image jumps into one.
    image = bytearray(accelerator.image("amd64").read_bytes())
    entry = int.from_bytes(image[28:32], "little") - 0x100000
    image[entry : entry + 9] = b"\x0f\x01\x1d\x00\x00\x00\x00\x0f\x0b"  # lidt [0]; ud2
    broken = tmp_path / "broken.bin"
    broken.write_bytes(image)
    words = accelerator.argv(Path(QEMU), "amd64", 1, "tcg")
    words[words.index("-kernel") + 1] = str(broken)
    outcome = accelerator.run_trial(words, accelerator.PASSED["amd64"], deadline=30)
    assert "exit status 0" in outcome.cause


def test_a_qemu_that_cannot_be_run_fails_the_trial(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("")
    outcome = accelerator.run_trial([str(program)], 0)
    assert "cannot be run" in outcome.cause


def test_a_passed_trial_gives_kvm_and_says_nothing(home: Home) -> None:
    assert result(home, CountedTrial(Outcome())) == Accelerator("kvm", "")


def test_a_failed_trial_gives_tcg_in_one_sentence_with_the_cause(home: Home) -> None:
    chosen = result(home, CountedTrial(Outcome("its trial did not end within 10 s", "letters")))
    assert chosen.name == "tcg"
    assert "its trial did not end within 10 s" in chosen.reason
    assert str(home.accelerator) in chosen.reason
    assert "\n" not in chosen.reason


@pytest.mark.parametrize("outcome", [Outcome(), Outcome("cause", "output")])
def test_the_outcome_is_kept(home: Home, outcome: Outcome) -> None:
    trial = CountedTrial(outcome)
    assert result(home, trial) == result(home, trial)
    assert trial.runs == 1


def test_each_number_of_processors_has_its_own_trial(home: Home) -> None:
    trial = CountedTrial(Outcome())
    for cpus in (1, 2, 1, 2):
        result(home, trial, cpus)
    assert trial.runs == 2


def test_another_host_means_a_new_trial(home: Home) -> None:
    trial = CountedTrial(Outcome("cause"))
    result(home, trial)
    trial.outcome = Outcome()
    assert result(home, trial, host=IDENTITY | {"kernel": "6.2"}).name == "kvm"
    assert trial.runs == 2


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"host": 1}', '{"host": {"kernel": "6.1", "arch": "amd64"}, "outcomes": 3}'],
)
def test_a_damaged_memory_means_a_new_trial(home: Home, content: str) -> None:
    home.cache.mkdir(parents=True)
    home.accelerator.write_text(content)
    trial = CountedTrial(Outcome())
    result(home, trial)
    result(home, trial)
    assert trial.runs == 1


def test_a_memory_that_cannot_be_written_costs_only_another_trial(tmp_path: Path) -> None:
    occupied = tmp_path / "cache"
    occupied.write_text("a file where the folder should be")
    trial = CountedTrial(Outcome("cause"))
    home = Home(occupied, occupied)
    assert result(home, trial).name == "tcg"
    assert result(home, trial).name == "tcg"
    assert trial.runs == 2


def test_the_processor_is_known_by_all_but_its_clock(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        return accelerator.processor_digest(path)

    first = digest("model name\t: A\ncpu MHz\t: 1\nbogomips\t: 3\n\nmodel name\t: A\n")
    assert first == digest("model name\t: A\ncpu MHz\t: 2\nbogomips\t: 4\n\nmodel name\t: A\n")
    assert first != digest("model name\t: B\ncpu MHz\t: 1\nbogomips\t: 3\n\nmodel name\t: A\n")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_another_qemu_is_another_host(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("one")
    before = accelerator.identity("amd64", program)
    assert before == accelerator.identity("amd64", program)
    program.write_text("another")
    assert before != accelerator.identity("amd64", program)
