"""`vclaw cp` against a real sshd and tar."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vclaw.cli.cp import InGuest, parse
from vclaw.cli.main import main

NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo:x", InGuest("demo", "/workspace/x")),
        ("demo:", InGuest("demo", "/workspace/")),
        ("demo:/etc/x/", InGuest("demo", "/etc/x/")),
        ("demo:~/x", InGuest("demo", "/home/claw/x")),
        ("demo:~", InGuest("demo", "/home/claw")),
        ("demo:a:b", InGuest("demo", "/workspace/a:b")),
        ("./a:b", "./a:b"),
        ("/a:b", "/a:b"),
        (":x", ":x"),
        ("file", "file"),
    ],
)
def test_a_claws_path_is_told_from_one_of_this_host(text: str, expected: object) -> None:
    assert parse(text) == expected


def tree(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Path -> kind or content, mode, time in nanoseconds."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        seen = path.lstat()
        what = os.readlink(path) if path.is_symlink() else ""  # noqa: PTH115
        what = path.read_text() if path.is_file() and not path.is_symlink() else what
        name = str(path.relative_to(folder))
        found[name] = (what, stat.S_IMODE(seen.st_mode), seen.st_mtime_ns)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "so urce"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a 'b\nc").write_text("content")
    (folder / "sub" / "a 'b\nc").chmod(0o640)
    (folder / "link").symlink_to("sub")
    (folder / "sub").chmod(0o555)
    for path in (folder / "sub" / "a 'b\nc", folder / "link", folder / "sub", folder):
        os.utime(path, ns=(NS, NS), follow_symlinks=False)
    return folder


def test_a_folder_goes_into_the_guest_and_back_unchanged(
    source: Path, guest: Path, tmp_path: Path
) -> None:
    assert main(["cp", str(source), f"demo:{guest}/there"]) == 0
    assert tree(guest / "there") == tree(source)
    assert main(["cp", f"demo:{guest}/there", str(tmp_path / "back")]) == 0
    assert tree(tmp_path / "back") == tree(source)


def test_a_destination_that_is_a_folder_gets_the_source_put_into_it(
    source: Path, guest: Path, tmp_path: Path
) -> None:
    (guest / "in").mkdir()
    (tmp_path / "out").mkdir()
    assert main(["cp", str(source), f"demo:{guest}/in/"]) == 0
    assert tree(guest / "in" / "so urce") == tree(source)
    assert main(["cp", f"demo:{guest}/in", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out" / "in" / "so urce") == tree(source)


def test_a_file_keeps_mode_and_time_both_ways_and_replaces_another(
    guest: Path, tmp_path: Path
) -> None:
    here = tmp_path / "run.sh"
    here.write_bytes(os.urandom(300_000))
    here.chmod(0o711)
    os.utime(here, ns=(NS, NS))
    there = guest / "-run.sh"
    there.write_text("old")
    assert main(["cp", str(here), f"demo:{there}"]) == 0
    back = tmp_path / "back"
    back.write_text("old")
    assert main(["cp", f"demo:{there}", str(back)]) == 0
    for copy in (there, back):
        seen = copy.stat()
        assert copy.read_bytes() == here.read_bytes()
        assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (0o711, NS)
    assert [path.name for path in guest.iterdir() if path.name.startswith(".vclaw")] == []


def test_a_second_copy_of_a_folder_is_merged_into_the_first(guest: Path, tmp_path: Path) -> None:
    source = tmp_path / "merge"
    source.mkdir()
    (source / "new").write_text("new")
    (guest / "merge").mkdir()
    (guest / "merge" / "old").write_text("old")
    assert main(["cp", str(source), f"demo:{guest}/"]) == 0
    assert {path.name for path in (guest / "merge").iterdir()} == {"new", "old"}


def test_what_the_guest_has_not_is_a_failure_that_makes_nothing(
    guest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", f"demo:{guest}/nothing", str(tmp_path / "x")]) == 1
    said = capfd.readouterr().err
    assert "No such file" in said
    assert "nothing could not be copied" in said
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_the_guest_cannot_write_is_a_failure(
    guest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "big").write_bytes(bytes(5_000_000))
    assert main(["cp", str(tmp_path / "big"), f"demo:{guest}/no/such/place"]) == 1
    assert "could not be copied to demo:" in capfd.readouterr().err


def test_a_link_that_leads_out_stays_in_the_guest_and_is_named(
    guest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (guest / "bad").mkdir()
    (guest / "bad" / "link").symlink_to("/etc/passwd")
    assert main(["cp", f"demo:{guest}/bad", str(tmp_path)]) == 1
    assert list((tmp_path / "bad").iterdir()) == []
    assert "'bad/link' was left out" in capfd.readouterr().err


def test_a_link_planted_in_the_workspace_is_followed_neither_way(
    guest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = guest.parent / "project"
    (tmp_path / "secret").write_text("secret")
    (workspace / "planted").symlink_to(tmp_path)
    (guest / "evil").write_text("evil")
    assert main(["cp", f"demo:{guest}/evil", str(workspace / "planted")]) == 2
    assert main(["cp", str(workspace / "planted" / "secret"), f"demo:{guest}/got"]) == 2
    assert "is a link in the workspace" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert not (guest / "got").exists()
