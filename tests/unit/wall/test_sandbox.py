"""bubblewrap's command lines, one golden file a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit import golden
from vclaw.hypervisor.machine import DirectBoot, Machine, RootDisk, Share
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


def argv(machine: Machine, user: User, qemu: list[str] = QEMU) -> list[str]:
    seen = sandbox.view(machine, ROOT, PATHS, Path(qemu[0]))
    return sandbox.argv(TOOLS, user, seen, machine, PATHS, qemu)


CASES = {
    "user": argv(MACHINE, ME),
    "root-for-owner": argv(replace(MACHINE, accelerator="tcg", allow_host_port=(11434,)), OWNER),
    "user-no-network": argv(replace(MACHINE, network=NONE), ME),
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


def test_a_qemu_outside_of_usr_is_seen_with_its_libraries() -> None:
    words = argv(MACHINE, ME, ["/opt/qemu/bin/qemu-system-x86_64"])
    assert "/opt/qemu" in words
    assert "/opt/qemu" not in argv(MACHINE, ME)
