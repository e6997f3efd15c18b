"""What a user may type for an image, and what is said to bad words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.image_server import qcow2
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.images import digests, refs
from vclaw.model import ImageRef


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ubuntu:24.04", ImageRef("ubuntu", "24.04", "amd64")),
        ("ubuntu:noble", ImageRef("ubuntu", "24.04", "amd64")),
        ("ubuntu:jammy@20260930.1", ImageRef("ubuntu", "22.04", "amd64", "20260930.1")),
        ("Ubuntu:26.04", ImageRef("ubuntu", "26.04", "amd64")),
        ("debian:trixie", ImageRef("debian", "13", "amd64")),
    ],
)
def test_a_name_becomes_a_number(text: str, wanted: ImageRef) -> None:
    assert refs.parse(text, "x86_64") == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ubunto:24.04", "Did you mean ubuntu:24.04?"),
        ("ubuntu:24", "Did you mean ubuntu:24.04?"),
        ("nobel", "Did you mean ubuntu:24.04?"),
        ("debian:11", "vclaw image ls"),
        ("fedora:42", "vclaw image ls"),
        ("", "vclaw image ls"),
        ("ubuntu:24.04@2026-09-30", "YYYYMMDD"),
        ("ubuntu:24.04@20260231", "YYYYMMDD"),
        ("ubuntu:24.04@", "YYYYMMDD"),
        ("debian:12@20260930", "Write debian:12"),
        ("./missing.img", "Give the path"),
    ],
)
def test_a_bad_ref_is_refused_with_a_hint(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        refs.parse(text, "amd64")
    assert said in caught.value.hint


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(UsageError, match="riscv64"):
        refs.parse("ubuntu:24.04", "riscv64")


def test_a_text_file_is_no_image_and_is_not_remembered(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("hello\n")
    home = Home(tmp_path / "home", tmp_path / "home")
    with pytest.raises(UsageError, match="not a disk image"):
        refs.parse(str(readme), home=home)
    assert not home.cache.exists()


def test_a_local_file_is_known_by_its_content_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(qcow2())
    home = Home(tmp_path / "home", tmp_path / "home")
    first = refs.parse(str(disk), home=home)
    assert first.version == digests.sha256(disk)
    monkeypatch.setattr(digests, "sha256", lambda _: pytest.fail("the file was read again"))
    assert refs.parse(str(disk), home=home) == first


def test_a_changed_local_file_gets_another_key(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    home = Home(tmp_path / "home", tmp_path / "home")
    disk.write_bytes(qcow2())
    first = refs.parse(str(disk), home=home)
    disk.write_bytes(qcow2(payload=b"more"))
    assert refs.parse(str(disk), home=home).key != first.key
