"""Tar streams: what is kept, and what a hostile guest cannot do."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vclaw import transfer
from vclaw.errors import UsageError, VclawError

NS = 1_700_000_000_123_456_789


class Notes(list[tuple[str, str]]):
    def __call__(self, path: str, reason: str) -> None:
        self.append((path, reason))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    return tmp_path / "place"


@pytest.fixture
def fd(place: Path) -> Iterator[int]:
    number = os.open(place, os.O_RDONLY)
    yield number
    os.close(number)


def stream(*members: tuple[str, bytes, str | int]) -> io.BytesIO:
    """A tar stream of (name, type, content or link's target or mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, value in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(str(value))
                tar.addfile(member, io.BytesIO(str(value).encode()))
                continue
            if kind == tarfile.DIRTYPE:
                member.mode = int(value)
            else:
                member.linkname = str(value)
            tar.addfile(member)
    return io.BytesIO(out.getvalue())


DIR, FILE, LINK = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE


def outside(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (place.parent / "outside").iterdir()}


def test_a_folder_comes_out_as_it_went_in(place: Path, fd: int) -> None:
    source = place / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run.sh").write_bytes(b"\0\xff" * 70_000)
    (source / "sub" / "run.sh").chmod(0o751)
    (source / "link").symlink_to("sub/run.sh")
    (source / "sub").chmod(0o2570)
    for path in (source / "sub" / "run.sh", source / "link", source / "sub", source):
        os.utime(path, ns=(NS, NS), follow_symlinks=False)
    out = io.BytesIO()
    notes = Notes()
    transfer.pack(fd, "source", out, notes)
    transfer.unpack(io.BytesIO(out.getvalue()), ".", fd, "copy", notes)
    assert notes == []
    for name in (".", "sub", "sub/run.sh", "link"):
        was, now = (source / name).lstat(), (place / "copy" / name).lstat()
        assert now.st_mtime_ns == was.st_mtime_ns == NS
        assert stat.S_IMODE(now.st_mode) == stat.S_IMODE(was.st_mode) & 0o777
    assert (place / "copy" / "sub" / "run.sh").read_bytes() == b"\0\xff" * 70_000
    assert (place / "copy" / "link").readlink() == Path("sub/run.sh")


def test_a_link_is_packed_as_a_link_and_not_followed(place: Path, fd: int) -> None:
    (place / "secret").symlink_to("../outside/kept")
    out = io.BytesIO()
    transfer.pack(fd, "secret", out, Notes())
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.issym(), member.size) == ("item", True, 0)


def test_a_socket_is_left_out_and_named(place: Path, fd: int) -> None:
    (place / "folder").mkdir()
    os.mkfifo(place / "folder" / "pipe")
    notes = Notes()
    transfer.pack(fd, "folder", io.BytesIO(), notes)
    assert [path for path, _ in notes] == ["./pipe"]


@pytest.mark.parametrize(
    "name", ["../outside/new", "/etc/new", "top/../../outside/new", "other", "top//x", "top/./x"]
)
def test_a_name_that_was_not_asked_for_is_refused(place: Path, fd: int, name: str) -> None:
    with pytest.raises(VclawError, match="not asked for"):
        transfer.unpack(stream(("top", DIR, 0o755), (name, FILE, "x")), "top", fd, "top", Notes())
    assert outside(place) == {"kept": "kept"}


def test_a_file_takes_the_place_of_a_link_instead_of_following_it(place: Path, fd: int) -> None:
    (place / "top").symlink_to("../outside/kept")
    transfer.unpack(stream(("top", FILE, "new")), "top", fd, "top", Notes())
    assert not (place / "top").is_symlink()
    assert ((place / "top").read_text(), outside(place)) == ("new", {"kept": "kept"})


def test_a_link_in_the_place_of_a_folder_is_not_entered(place: Path, fd: int) -> None:
    (place / "top").mkdir()
    (place / "top" / "sub").symlink_to("../../outside")
    sent = stream(("top", DIR, 0o755), ("top/sub", DIR, 0o755), ("top/sub/new", FILE, "x"))
    with pytest.raises(VclawError, match="top/sub is there and is no folder"):
        transfer.unpack(sent, "top", fd, "top", Notes())
    assert outside(place) == {"kept": "kept"}


def test_a_link_sent_first_is_no_way_out_for_a_file_sent_next(fd: int) -> None:
    sent = stream(
        ("top", DIR, 0o755), ("top/a", DIR, 0o755), ("top/l", LINK, "a"), ("top/l/x", FILE, "x")
    )
    with pytest.raises(VclawError, match="top/l is there and is no folder"):
        transfer.unpack(sent, "top", fd, "top", Notes())


@pytest.mark.parametrize(
    ("parts", "target", "inside"),
    [
        (("a",), "b", True),
        (("d", "a"), "../b", True),
        (("d", "a"), "./../b/c", True),
        (("a",), "/etc/passwd", False),
        (("a",), "../b", False),
        (("d", "a"), "../../b", False),
        (("d", "a"), "link/../../b", False),
        ((), "b", False),
    ],
)
def test_a_link_may_lead_to_places_inside_only(
    parts: tuple[str, ...], target: str, inside: bool
) -> None:
    assert transfer.stays_inside(parts, target) is inside


def test_a_link_that_leads_out_is_left_out_and_named(place: Path, fd: int) -> None:
    notes = Notes()
    sent = stream(("top", DIR, 0o755), ("top/l", LINK, "../../outside"))
    transfer.unpack(sent, "top", fd, "top", notes)
    assert [path for path, _ in notes] == ["top/l"]
    assert list((place / "top").iterdir()) == []


def test_devices_and_hard_links_are_left_out(fd: int) -> None:
    notes = Notes()
    sent = stream(
        ("top", DIR, 0o755), ("top/dev", tarfile.CHRTYPE, ""), ("top/h", tarfile.LNKTYPE, "top")
    )
    transfer.unpack(sent, "top", fd, "top", notes)
    assert [path for path, _ in notes] == ["top/dev", "top/h"]


def test_setuid_is_not_taken_from_a_guest(place: Path, fd: int) -> None:
    transfer.unpack(stream(("top", DIR, 0o6755)), "top", fd, "top", Notes())
    assert stat.S_IMODE((place / "top").stat().st_mode) == 0o755


@pytest.mark.parametrize("cut", [0, 100, 700, 1100])
def test_a_stream_that_is_cut_off_is_an_error_and_leaves_no_half_file(
    place: Path, fd: int, cut: int
) -> None:
    (place / "top").write_text("old")
    whole = stream(("top", FILE, "x" * 5000)).getvalue()
    with pytest.raises(VclawError):
        transfer.unpack(io.BytesIO(whole[:cut]), "top", fd, "top", Notes())
    assert {path.name: path.read_text() for path in place.iterdir()} == {"top": "old"}


@pytest.mark.parametrize("mtime", ["nan", "Infinity", "9" * 40, "-9" * 20, "x"])
def test_an_absurd_time_is_an_error_and_no_crash(place: Path, fd: int, mtime: str) -> None:
    member = tarfile.TarInfo("top")
    member.pax_headers = {"mtime": mtime}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
    try:
        transfer.unpack(io.BytesIO(out.getvalue()), "top", fd, "top", Notes())
    except VclawError:
        assert list(place.iterdir()) == []


def test_a_link_that_the_guest_planted_in_the_workspace_is_not_followed(place: Path) -> None:
    (place / "out").symlink_to("../outside")
    with (
        pytest.raises(UsageError, match="is a link in the workspace"),
        transfer.folder(place / "out", place),
    ):
        pass
    (place.parent / "mine").symlink_to("outside")
    with transfer.folder(place.parent / "mine", place) as number:
        assert os.listdir(number) == ["kept"]  # noqa: PTH208
    (place / "sub").mkdir()
    with transfer.folder(place / "sub", place) as number:
        assert os.fstat(number).st_ino == (place / "sub").stat().st_ino
