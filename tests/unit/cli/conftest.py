"""A claw without a virtual machine: its files, and a real sshd where its guest's would be."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sshd
from vclaw import boot, ssh
from vclaw.claws import access, record
from vclaw.home import Home
from vclaw.hypervisor.process import Process, start_mark
from vclaw.model import ClawSpec
from vclaw.paths import ClawPaths

NAME = "demo"


@pytest.fixture
def home(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of the test's own, with one claw that was never started."""
    monkeypatch.setenv("VCLAW_HOME", str(short_path))
    home = Home.from_env()
    paths = home.claw(NAME)
    boot.make_folders(paths)
    record.save(paths, sshd.spec(NAME, short_path / "work"))
    return home


@pytest.fixture
def paths(home: Home) -> ClawPaths:
    """The claw's files."""
    return home.claw(NAME)


@pytest.fixture
def up(paths: ClawPaths) -> None:
    """The claw counts as running: the process of its run.json is this one."""
    boot._record(paths, Process(os.getpid(), start_mark(os.getpid()), ("qemu",)))


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ClawPaths, ClawSpec]]:
    """A claw that takes SSH connections; its guest's /workspace is `work`."""
    if sshd.SSHD is None:
        pytest.skip("needs sshd (openssh-server)")
    top = Path(tempfile.mkdtemp(prefix="vclaw-"))
    for name in ("sshd", "work", "project"):
        (top / name).mkdir()
    paths = ClawPaths(top / NAME)
    try:
        with sshd.serving(paths, NAME, top / "project", top / "sshd") as spec:
            yield paths, spec
    finally:
        shutil.rmtree(top)


@pytest.fixture
def guest(served: tuple[ClawPaths, ClawSpec], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guest's /workspace; verbs find this claw running."""
    work = served[0].root.parent / "work"
    build = ssh.remote_command
    monkeypatch.setattr(ssh, "USER", sshd.USER)
    monkeypatch.setattr(ssh, "remote_command", lambda words, mark: build(words, mark, str(work)))
    monkeypatch.setattr(access, "running", lambda _home, _name: served)
    return work
