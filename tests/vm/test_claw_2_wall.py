"""The wall as the guest finds it: tried from inside of a real one, by its root."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.claw import Claw
from vclaw import boot

pytestmark = pytest.mark.vm

CONNECT = """python3 - <<'END'
import socket
for address in {targets}:
    with socket.socket() as s:
        s.settimeout(60)
        try:
            s.connect(address)
            print("reached")
        except OSError as error:
            print(type(error).__name__)
END"""

RACE = """timeout 60 python3 - <<'END'
import os, threading, time
os.chdir("/workspace/race")
over = time.monotonic() + 10
def swap():
    while time.monotonic() < over:
        os.rename("name", "away")
        os.rename("other", "name")
        os.rename("away", "other")
swapping = threading.Thread(target=swap)
swapping.start()
seen = set()
while swapping.is_alive():
    try:
        seen.add(open("name/secret").read().strip())
    except OSError:
        pass
print(" ".join(sorted(seen)))
END"""
"""Two names change places over and over, a folder and a link, while one of them is opened."""


def tried(claw: Claw, *targets: tuple[str, int]) -> list[str]:
    """What came of connecting from the guest to each (address, port)."""
    return claw.ssh(CONNECT.format(targets=list(targets)), 300).split()


def own_address() -> str:
    """The host's address on its way out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_the_allowed_port_of_the_host_is_reached_and_a_second_one_refused(
    claw: Claw, services: tuple[int, int]
) -> None:
    allowed, other = services
    assert tried(claw, ("10.0.2.2", allowed), ("10.0.2.2", other)) == [
        *("reached", "ConnectionRefusedError")
    ]


def test_metadata_private_networks_and_the_host_itself_are_closed(claw: Claw) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        addresses = ("169.254.169.254", "10.1.2.3", "172.16.1.1", "192.168.1.1", own_address())
        found = tried(claw, *((address, port) for address in addresses))
        assert found == ["ConnectionRefusedError"] * len(addresses)


def test_the_internet_is_reached_by_name(claw: Claw) -> None:
    """Tried with the mirror that the guest's own apt uses; skipped where the host has no way."""
    mirror = claw.ssh("grep -rhoE 'https?://[^ ]+' /etc/apt/sources.list* | head -n 1")
    address = mirror.strip().rstrip("/") + "/dists/bookworm/InRelease"
    try:
        with urlopen(address, timeout=20) as answer:
            assert answer.status == 200
    except OSError as error:
        pytest.skip(f"this host does not reach it either: {error}")
    assert claw.ssh(f"curl -sS -m 120 -o /dev/null -w '%{{http_code}}' {address}", 200) == "200"


def test_qemu_has_no_rights_on_the_host(claw: Claw, project: Path) -> None:
    process = boot.current(claw.paths)
    assert process is not None
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    assert status["Uid"].split() == [str(project.stat().st_uid)] * 4
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    assert claw.token not in " ".join(process.argv)


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("share", ["workspace", "state"])
def test_a_link_does_not_lead_the_guest_out_of_a_share(
    claw: Claw, project: Path, tmp_path: Path, share: str, absolute: bool
) -> None:
    (tmp_path / "secret").write_text("of the host")
    folder, mounted = {
        "workspace": (project, "/workspace"),
        "state": (claw.paths.state, "/var/lib/openclaw"),
    }[share]
    target = tmp_path if absolute else Path(os.path.relpath(tmp_path, folder))
    link = folder / "leads-out"
    link.symlink_to(target)
    try:
        found = claw.ssh(f"sudo cat {mounted}/leads-out/secret 2>&1 || true")
        assert "No such file" in found
        assert claw.ssh(f"readlink {mounted}/leads-out") == str(target), "the guest sees the link"
        written = claw.ssh(f"echo evil | sudo tee {mounted}/leads-out/evil >/dev/null; true")
        assert written == ""
        assert not (tmp_path / "evil").exists()
    finally:
        link.unlink()


def test_a_folder_that_becomes_a_link_in_a_race_leads_nowhere(
    claw: Claw, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of-the-host")
    claw.ssh(
        "mkdir -p /workspace/race/name; echo inside >/workspace/race/name/secret; "
        f"ln -s {tmp_path} /workspace/race/other"
    )
    try:
        assert claw.ssh(RACE, 150) == "inside"
    finally:
        claw.ssh("rm -r /workspace/race")
    assert not (project / "race").exists()
