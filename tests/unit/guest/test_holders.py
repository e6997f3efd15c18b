"""Who holds the host's folders in a guest, looked for in a /proc of the test's own making."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vclaw import seed

FILE = Path(seed.__file__).with_name("guest") / "holders.py"


class Processes:
    """A /proc with a few processes, none of which holds anything at first."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, pid: int, name: str, unit: str = "ssh.service", **links: str) -> Path:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        for link, target in {"cwd": "/", "root": "/", "fd/0": "/dev/null", **links}.items():
            (folder / link).symlink_to(target)
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        (folder / "maps").write_text("7f00-7f01 r-xp 00000000 08:01 12  /usr/bin/python3\n")
        (folder / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/vda1 rw\n")
        return folder


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    (tmp_path / "self").mkdir()  # as the true one, it has more than processes
    return Processes(tmp_path)


@pytest.fixture
def holders(processes: Processes) -> Any:
    names = runpy.run_path(str(FILE), run_name="holders")
    names["of"].__globals__["PROC"] = processes.root
    return SimpleNamespace(**names)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("cwd", "/workspace"),
        ("root", "/workspace/jail"),
        ("fd/7", "/var/lib/openclaw/a file"),
        ("fd/8", "/workspace/gone (deleted)"),
        ("fd/9", "/run/vclaw/seed/vclaw/apply.py"),
    ],
)
def test_a_process_that_holds_a_folder_is_named(
    holders: Any, processes: Processes, link: str, path: str
) -> None:
    processes.add(5, "quiet")
    processes.add(6, "vim", **{link: path})
    assert holders.of("") == [{"pid": 6, "name": "vim", "path": path}]


@pytest.mark.parametrize("path", ["/workspaces", "/var/lib/openclaw2/x", "/", "socket:[1]"])
def test_what_only_looks_alike_is_no_holder(holders: Any, processes: Processes, path: str) -> None:
    processes.add(6, "vim", **{"fd/7": path})
    assert holders.of("") == []


def test_a_mapped_file_holds_its_folder(holders: Any, processes: Processes) -> None:
    folder = processes.add(6, "sqlite")
    with (folder / "maps").open("a") as maps:
        maps.write("7f02-7f03 rw-s 00000000 00:2a 12      /var/lib/openclaw/db-shm\n")
    assert holders.of("") == [{"pid": 6, "name": "sqlite", "path": "/var/lib/openclaw/db-shm"}]


def test_the_gateways_own_processes_are_spared(holders: Any, processes: Processes) -> None:
    processes.add(6, "node", "openclaw.service", **{"fd/7": "/workspace/x"})
    processes.add(7, "vim", "user.slice", **{"fd/7": "/workspace/x"})
    assert [item["pid"] for item in holders.of("openclaw.service")] == [7]
    assert sorted(item["pid"] for item in holders.of("")) == [6, 7]


def test_a_mount_in_another_namespace_is_found(holders: Any, processes: Processes) -> None:
    folder = processes.add(6, "container")
    with (folder / "mountinfo").open("a") as mounts:
        mounts.write("40 22 0:42 / /box/work rw,relatime shared:1 - 9p workspace rw,trans=virtio\n")
    processes.add(7, "other")
    assert holders.elsewhere() == [{"pid": 6, "name": "container", "path": "/box/work"}]


def test_a_process_that_ends_meanwhile_is_passed_over(holders: Any, processes: Processes) -> None:
    (processes.root / "9").mkdir()  # nothing of it can be read
    processes.add(6, "vim", **{"fd/7": "/workspace/x"})
    assert [item["pid"] for item in holders.of("openclaw.service")] == [6]


def test_ten_holders_are_enough(holders: Any, processes: Processes) -> None:
    for pid in range(100, 115):
        processes.add(pid, "vim", **{"fd/7": "/workspace/x"})
    assert len(holders.of("")) == 10
