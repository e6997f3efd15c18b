"""What is said where this host cannot wall a claw in, and who QEMU is to be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from vclaw import proc
from vclaw.errors import UsageError
from vclaw.model import INTERNET, NONE
from vclaw.wall import mechanism
from vclaw.wall.sandbox import User

ME = User(os.geteuid(), os.getegid())


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Programs put in here are not installed; all others are."""
    names: set[str] = set()
    real = proc.need

    def need(program: str, purpose: str) -> Path:
        if program in names:
            monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
            return real(program, purpose)
        return Path("/usr/bin") / program

    monkeypatch.setattr(proc, "need", need)
    monkeypatch.setattr(mechanism, "_try_namespaces", lambda *_: None)
    monkeypatch.setattr(mechanism, "_check_tun", lambda: None)
    return names


@pytest.mark.parametrize(
    ("program", "package"),
    [("bwrap", "bubblewrap"), ("pasta", "passt"), ("nft", "nftables"), ("socat", "socat")],
)
def test_a_missing_program_is_named_with_its_package_and_the_way_without(
    missing: set[str], program: str, package: str
) -> None:
    missing.add(program)
    with pytest.raises(UsageError) as raised:
        mechanism.require(INTERNET, (), ME)
    assert raised.value.message.startswith(f"{program} is not installed")
    assert f"apt-get install {package}." in raised.value.hint
    assert "--network open" in raised.value.hint


def test_without_a_network_pasta_is_not_needed(missing: set[str]) -> None:
    missing.add("pasta")
    mechanism.require(NONE, (), ME)
    with pytest.raises(UsageError):
        mechanism.require(NONE, (11434,), ME)


def test_another_system_is_told_of_the_way_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanism.sys, "platform", "darwin")
    with pytest.raises(UsageError, match="takes Linux's namespaces") as raised:
        mechanism.require(INTERNET, (), ME)
    assert "--network open" in raised.value.hint


@pytest.mark.parametrize(("closed", "said"), [("1", "AppArmor"), ("0", "max_user_namespaces")])
def test_closed_namespaces_are_said_with_what_opens_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed: str, said: str
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bwrap: No permissions to create a new namespace; exit 1\n")
    program.chmod(0o755)
    (tmp_path / "restrict").write_text(closed)
    monkeypatch.setattr(proc, "need", lambda *_: program)
    monkeypatch.setattr(mechanism, "APPARMOR", tmp_path / "restrict")
    with pytest.raises(UsageError, match="No permissions to create a new namespace") as raised:
        mechanism.require(NONE, (), ME)
    assert said in raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_makes_qemu_the_workspaces_owner(tmp_path: Path) -> None:
    assert mechanism.user(tmp_path, "tcg") == User(0, 0)
    os.chown(tmp_path, 1234, 5678)
    assert mechanism.user(tmp_path, "tcg") == User(1234, 5678, become=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root becomes somebody else")
def test_a_users_qemu_is_that_user(tmp_path: Path) -> None:
    assert mechanism.user(tmp_path, "kvm") == ME
