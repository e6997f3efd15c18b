"""Files that were opened to others are closed again, and links are left alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vclaw.claws import permissions
from vclaw.paths import ClawPaths


@pytest.fixture
def paths(tmp_path: Path) -> ClawPaths:
    """A claw with a few files, all closed."""
    claw = ClawPaths(tmp_path / "instances" / "demo")
    for folder in (claw.root.parent, claw.root, claw.state, claw.logs):
        folder.mkdir(mode=0o700)
    for file in (claw.secrets, claw.seed):
        file.touch(mode=0o600)
    return claw


def test_nothing_is_said_where_all_is_closed(paths: ClawPaths) -> None:
    assert permissions.close(paths) == []


def test_what_is_open_to_others_is_closed_and_named(paths: ClawPaths) -> None:
    paths.secrets.chmod(0o644)
    paths.state.chmod(0o777)
    assert permissions.close(paths) == [paths.state, paths.secrets]
    assert stat.S_IMODE(paths.secrets.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o700
    assert permissions.close(paths) == []


def test_no_link_is_followed(paths: ClawPaths, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(mode=0o644)
    paths.secrets.unlink()
    paths.secrets.symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        permissions.close(paths)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_state_is_mixed_where_something_right_in_it_is_anothers(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    assert not permissions.mixed(tmp_path, os.geteuid())
    assert permissions.mixed(tmp_path, os.geteuid() + 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_all_of_a_state_is_given_to_its_user_and_nothing_that_a_link_leads_to(
    tmp_path: Path,
) -> None:
    state, outside = tmp_path / "state", tmp_path / "outside"
    (state / "agents" / "main").mkdir(parents=True)
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "file").touch()
    (state / "agents" / "main" / "sessions.db").touch()
    (state / "agents" / "file").symlink_to(outside / "folder" / "file")
    (state / "folder").symlink_to(outside / "folder")
    permissions.give(state, 1234, 2345)
    inside = sorted(state.rglob("*"))
    assert len(inside) == 5
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in inside} == {(1234, 2345)}
    assert {path.stat().st_uid for path in (outside, *outside.rglob("*"))} == {0}
    assert not permissions.mixed(state, 1234)
