"""QEMU's command line, one golden file a case."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.unit import golden
from vclaw.hypervisor.machine import DirectBoot, Machine, Memory, RootDisk, Share
from vclaw.hypervisor.qemu import argv
from vclaw.model import PortForward
from vclaw.paths import ClawPaths

GOLDEN = Path(__file__).with_name("golden")

PATHS = ClawPaths(Path("/data/instances/demo"))

MACHINE = Machine(
    name="demo",
    arch="amd64",
    accelerator="kvm",
    cpus=4,
    memory_mib=4096,
    runtime=Path("/cache/runtimes/openclaw-1-amd64/openclaw.squashfs"),
    forwards=(PortForward(18789, 18789), PortForward(40022, 22), PortForward(8080, 80)),
    shares=(Share("state", PATHS.state), Share("workspace", Path("/home/me/project"))),
)


@dataclass(frozen=True)
class Case:
    machine: Machine
    root: RootDisk
    paths: ClawPaths = PATHS
    firmware: Path | None = None
    sandbox: bool = True
    memory: Memory | None = None

    @property
    def argv(self) -> list[str]:
        program = Path("/usr/bin") / argv.PROGRAMS[self.machine.arch]
        words = (program, self.machine, self.root, self.paths, self.firmware, self.sandbox)
        return argv.build(*words, memory=self.memory)


def comma() -> Case:
    """Every path holds a comma, which ends a value in QEMU's options."""
    paths = ClawPaths(Path("/da,ta/instances/demo"))
    machine = replace(
        MACHINE,
        runtime=Path("/ca,che/openclaw.squashfs"),
        shares=(Share("state", paths.state), Share("workspace", Path("/me/a,b,,c"), readonly=True)),
    )
    boot = DirectBoot(paths.kernel, paths.initrd, "root=LABEL=vclaw-root ro console=ttyS0,115200")
    return Case(machine, RootDisk(paths.disk, "raw", boot), paths)


CASES = {
    "amd64-kvm-direct": comma(),
    "amd64-tcg-firmware": Case(replace(MACHINE, accelerator="tcg"), RootDisk(PATHS.disk, "qcow2")),
    "arm64-kvm-firmware": Case(
        replace(MACHINE, arch="arm64"),
        RootDisk(PATHS.disk, "qcow2"),
        firmware=Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
    ),
    "arm64-hvf-macos": Case(
        replace(MACHINE, arch="arm64", accelerator="hvf"),
        RootDisk(PATHS.disk, "raw"),
        firmware=Path("/opt/homebrew/share/qemu/edk2-aarch64-code.fd"),
        sandbox=False,
    ),
    "amd64-tcg-kept": replace(comma(), memory=Memory(Path("/ca,che/memory"), kept=True)),
    "amd64-kvm-going-on": Case(
        MACHINE,
        RootDisk(PATHS.disk, "qcow2", base=Path("/cache/templates/t/disk.img")),
        memory=Memory(Path("/proc/self/fd/7"), kept=False),
    ),
    "arm64-kvm-going-on": Case(
        replace(MACHINE, arch="arm64"),
        RootDisk(PATHS.disk, "qcow2"),
        firmware=Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
        memory=Memory(Path("/proc/self/fd/7"), kept=False),
    ),
}

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_the_golden_one(name: str) -> None:
    golden.check("\n".join(CASES[name].argv) + "\n", GOLDEN / f"{name}.txt")


@each
def test_no_forward_is_in_it_since_they_change_while_the_machine_runs(case: Case) -> None:
    assert "hostfwd" not in " ".join(case.argv)
    assert case.argv == replace(case, machine=replace(case.machine, forwards=())).argv


@each
def test_no_socket_listens_on_the_network(case: Case) -> None:
    sockets = [word for word in case.argv if word.startswith("socket,")]
    assert len(sockets) == 4
    folder = argv.escape(case.paths.sockets)
    assert all(f",path={folder}/" in word for word in sockets)


@each
def test_only_linux_has_qemus_sandbox(case: Case) -> None:
    assert ("-sandbox" in case.argv) is case.sandbox


@each
def test_the_memory_is_read_back_from_the_command_line_as_it_was_given(case: Case) -> None:
    assert argv.memory_of(case.argv) == case.memory


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("path", ["/a,b", "/a,,b,", "/,share=on,x", "/a b\nc", "/mem-path=/x"])
def test_a_memory_of_any_path_is_read_back_from_the_command_line(path: str, kept: bool) -> None:
    memory = Memory(Path(path), kept)
    assert argv.memory_of(replace(CASES["amd64-tcg-firmware"], memory=memory).argv) == memory


@each
def test_only_a_machine_that_goes_on_from_a_saved_one_waits_for_its_state(case: Case) -> None:
    assert ("-incoming" in case.argv) is (case.memory is not None and not case.memory.kept)


def test_a_memory_that_is_not_kept_is_never_written() -> None:
    for case in CASES.values():
        words = next((w for w in case.argv if w.startswith("memory-backend-file")), "")
        if case.memory is not None:
            assert f"share={'on' if case.memory.kept else 'off'}," in words
        else:
            assert words == ""


@pytest.mark.parametrize(
    ("path", "escaped"), [("/a", "/a"), ("/a,b", "/a,,b"), ("/a,,b", "/a,,,,b"), ("/a b", "/a b")]
)
def test_a_comma_in_a_path_is_written_twice(path: str, escaped: str) -> None:
    assert argv.escape(Path(path)) == escaped


def test_a_machine_comes_back_from_its_json_as_it_was() -> None:
    text = json.dumps(MACHINE.to_json())
    assert Machine.from_json(json.loads(text)) == MACHINE


@pytest.mark.parametrize(
    "memory",
    [
        Memory(None, kept=False),
        Memory(Path("/claw/me,mory"), kept=True),
        Memory(Path("/proc/self/fd/7"), kept=False),
    ],
)
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_running_machines_words_tell_what_its_memory_is(memory: Memory, arch: str) -> None:
    machine = replace(MACHINE, arch=arch)
    root = RootDisk(PATHS.disk, "raw")
    made = argv.build(Path("/q"), machine, root, PATHS, None, True, memory=memory)
    assert argv.memory_of(made) == memory
    assert argv.memory_of(argv.build(Path("/q"), machine, root, PATHS, None, True)) is None
    assert ("-incoming" in made) == (not memory.kept)
    # A saved guest's state names its memory, which has its machine's own name as a file too.
    assert (f"memory-backend={argv.MEMORIES[arch]}" in " ".join(made)) == (memory.path is not None)


def test_without_a_file_only_the_waiting_differs() -> None:
    root = RootDisk(PATHS.disk, "raw")
    plain = argv.build(Path("/q"), MACHINE, root, PATHS, None, True)
    made = argv.build(Path("/q"), MACHINE, root, PATHS, None, True, memory=Memory(None, kept=False))
    assert [word for word in made if word not in argv.INCOMING] == plain
