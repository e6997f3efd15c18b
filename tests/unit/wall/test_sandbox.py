"""bubblewrap's command lines, one golden file a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit import golden
from vclaw.hypervisor.machine import DirectBoot, Machine, Memory, RootDisk, Share
from vclaw.model import NONE, PortForward
from vclaw.paths import ClawPaths
from vclaw.wall import sandbox
from vclaw.wall.sandbox import Tools, User

GOLDEN = Path(__file__).with_name("golden")
TOOLS = Tools(Path("/usr/bin/bwrap"), Path("/usr/bin/nsenter"), Path("/usr/bin/setpriv"))
PATHS = ClawPaths(Path("/data/instances/demo"))
MACHINE = Machine(
    name="demo",
    arch="amd64",
    accelerator="kvm",
    cpus=1,
    memory_mib=2048,
    runtime=Path("/cache/runtimes/x/openclaw.squashfs"),
    forwards=(PortForward(18789, 18789),),
    shares=(Share("state", PATHS.state), Share("workspace", Path("/home/me/project"))),
)
ROOT = RootDisk(PATHS.disk, "raw", DirectBoot(PATHS.kernel, PATHS.initrd, "quiet"))
QEMU = ["/usr/bin/qemu-system-x86_64", "-nodefaults"]
ME = User(1000, 1000)
OWNER = User(1234, 1234, become=True, groups=(104,))


KEPT = Memory(PATHS.memory, kept=True)
SAVED = Memory(Path("/proc/self/fd/7"), kept=False)
BASE = Path("/cache/templates/t/disk.img")
OVER = RootDisk(PATHS.disk, "qcow2", base=BASE)


def argv(
    machine: Machine,
    user: User,
    qemu: list[str] = QEMU,
    root: RootDisk = ROOT,
    memory: Memory | None = None,
) -> list[str]:
    seen = sandbox.view(machine, root, PATHS, Path(qemu[0]), memory)
    brief = memory is not None and memory.kept
    return sandbox.argv(TOOLS, user, seen, machine, PATHS, qemu, brief=brief)


CASES = {
    "user": argv(MACHINE, ME),
    "root-for-owner": argv(replace(MACHINE, accelerator="tcg", allow_host_port=(11434,)), OWNER),
    "user-no-network": argv(replace(MACHINE, network=NONE), ME),
    "user-kept": argv(replace(MACHINE, network=NONE), ME, memory=KEPT),
    "root-for-nobody-kept": argv(replace(MACHINE, network=NONE), OWNER, memory=KEPT),
    "user-over-template": argv(MACHINE, ME, root=OVER, memory=SAVED),
    "root-for-owner-over-template": argv(MACHINE, OWNER, root=OVER, memory=SAVED),
    "inside": [*sandbox.inside(TOOLS, ME, 7, 8, None), "program"],
    "inside-as-owner": [*sandbox.inside(TOOLS, OWNER, 7, 8, PATHS.tun), "program"],
    "relay": sandbox.relay(TOOLS, Path("/usr/bin/socat"), "/proc/9/ns/net", 18789),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_the_golden_one(name: str) -> None:
    golden.check("\n".join(CASES[name]) + "\n", GOLDEN / f"{name}.txt")


@pytest.mark.parametrize("user", [ME, OWNER], ids=["user", "owner"])
def test_no_secret_and_no_other_claw_is_in_the_view(user: User) -> None:
    words = argv(MACHINE, user)
    bound = {words[i + 1] for i, word in enumerate(words) if word.endswith("bind")}
    for path in (PATHS.root, PATHS.root.parent, PATHS.secrets, PATHS.guest, PATHS.ssh_key):
        assert str(path) not in bound
    assert "/home/me" not in bound
    assert "/etc" not in bound


@pytest.mark.parametrize("change", [{"network": NONE}, {"allow_host_port": (1,)}])
def test_another_network_is_another_command_line(change: dict[str, object]) -> None:
    assert argv(replace(MACHINE, **change), ME) != argv(MACHINE, ME)  # type: ignore[arg-type]


def bound(words: list[str], option: str) -> list[str]:
    """The host paths that one of bubblewrap's options names."""
    return [words[i + 1] for i, word in enumerate(words) if word == option]


@pytest.mark.parametrize("user", [ME, OWNER], ids=["user", "owner"])
def test_the_disk_of_a_template_can_be_read_and_not_written(user: User) -> None:
    words = argv(MACHINE, user, root=OVER, memory=SAVED)
    assert str(BASE) in bound(words, "--ro-bind")
    assert str(BASE) not in bound(words, "--bind")
    assert str(OVER.path) in bound(words, "--bind")
    assert str(BASE.with_name("memory")) not in words, "it is a descriptor that QEMU inherits"


@pytest.mark.parametrize("user", [ME, OWNER], ids=["user", "owner"])
def test_memory_that_is_kept_can_be_written(user: User) -> None:
    assert str(KEPT.path) in bound(argv(MACHINE, user, memory=KEPT), "--bind")
    assert str(KEPT.path) not in argv(MACHINE, user)


@pytest.mark.parametrize("user", [ME, OWNER], ids=["user", "owner"])
def test_only_a_guest_that_is_to_be_kept_ends_with_whoever_boots_it(user: User) -> None:
    word = "--die-with-parent"
    kept = argv(MACHINE, user, memory=KEPT)
    assert kept.count(word) == 1
    assert kept.index(word) < kept.index("/bin/sh"), "bubblewrap's word, and not QEMU's"
    assert word not in argv(MACHINE, user)
    assert word not in argv(MACHINE, user, root=OVER, memory=SAVED)


def test_a_qemu_outside_of_usr_is_seen_with_its_libraries() -> None:
    words = argv(MACHINE, ME, ["/opt/qemu/bin/qemu-system-x86_64"])
    assert "/opt/qemu" in words
    assert "/opt/qemu" not in argv(MACHINE, ME)
