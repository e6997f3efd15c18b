"""Files that appear whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vclaw import fsutil
from vclaw.errors import UsageError, VclawError


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_replaced_file_is_new_and_has_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    before = target.stat().st_ino
    with fsutil.replacing(target, mode) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", mode)
    assert target.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_replacement_leaves_the_old_file_alone(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(error), fsutil.replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    target = tmp_path / "file"
    assert fsutil.write_if_changed(target, b"a")
    before = target.stat()
    assert not fsutil.write_if_changed(target, b"a")
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert fsutil.write_if_changed(target, b"b")
    assert target.read_bytes() == b"b"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff\x00", b"{} {}"])
def test_what_is_no_json_object_is_named_as_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(VclawError, match=r"file\.json is damaged"):
        fsutil.read_json(path)


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"b": 1, "a": ["é", None]}
    fsutil.write_json(tmp_path / "file.json", value)
    assert list(fsutil.read_json(tmp_path / "file.json").items()) == list(value.items())
    assert json.loads((tmp_path / "file.json").read_text()) == value


def test_missing_space_is_told_with_how_much(tmp_path: Path) -> None:
    fsutil.require_space(tmp_path, 1, "A test")
    needed = fsutil.free_bytes(tmp_path) + 5000 * 2**20
    with pytest.raises(UsageError, match=r"A test needs \d+ MiB in .*, and (49|50)\d\d MiB of it"):
        fsutil.require_space(tmp_path, needed, "A test")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        fsutil.make_folder(tmp_path / "file" / "folder")
