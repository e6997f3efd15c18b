"""`vclaw image` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.image_server import ImageServer, qcow2
from vclaw.cli import main
from vclaw.model import host_arch


def test_ls_names_every_supported_image(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["REF", "ARCH", "DOWNLOADED", "SIZE", "UPDATED(UTC)"]
    names = ["ubuntu:22.04", "ubuntu:24.04", "ubuntu:26.04", "debian:12", "debian:13"]
    assert [line.split()[:3] for line in lines[1:]] == [[n, host_arch(), "no"] for n in names]
    assert not own_home.exists()


def test_fetch_ls_and_rm_agree(
    own_home: Path,
    image_server: ImageServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in image_server.env(tmp_path).items():
        monkeypatch.setenv(name, value)
    image_server.publish(qcow2(payload=bytes(2**20)), serial="20260930")
    assert main(["image", "fetch", "ubuntu:noble@20260930"]) == 0
    fetched = capsys.readouterr()
    assert "fetching ubuntu:24.04@20260930: 100.0% of 1.0 MiB" in fetched.err
    assert fetched.out.splitlines()[1].endswith("/images/ubuntu_24.04_20260930/image.img")
    assert main(["image", "ls", "--json"]) == 0
    found = [row for row in json.loads(capsys.readouterr().out) if row["downloaded"]]
    assert [row["ref"] for row in found] == ["ubuntu:24.04@20260930"]
    assert main(["image", "rm", "ubuntu:24.04@20260930"]) == 0
    assert list((own_home / "images").iterdir()) == []


def test_ls_shows_a_damaged_image_and_rm_takes_its_name(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_home / "images" / "file_0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "image.json").write_text('{"schema": 1}')
    assert main(["image", "ls"]) == 0
    out = capsys.readouterr().out
    assert "broken" in out
    assert "is damaged" in out
    assert main(["image", "rm", "file_0123456789abcdef"]) == 0
    assert not folder.exists()


def test_a_local_image_is_removed_by_its_path_after_its_file_is_gone(
    own_home: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(qcow2())
    assert main(["image", "fetch", str(disk)]) == 0
    disk.unlink()
    assert main(["image", "rm", str(disk)]) == 0
    assert list((own_home / "images").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["fetch", "ubunto:24.04"],
        ["fetch", "ubuntu:24.04@20261399"],
        ["fetch", "ubuntu:24.04", "--arch", "riscv64"],
        ["fetch", "/nowhere/disk.img"],
        ["rm", "/nowhere/disk.img"],
        ["rm", "debian:12"],
    ],
)
def test_bad_input_exits_2_with_two_sentences_and_leaves_nothing(
    own_home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["image", *words]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("vclaw: ")
    assert hint.strip()
    assert not own_home.exists()


def test_a_cache_folder_that_cannot_be_written_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("VCLAW_HOME", str(blocker / "home"))
    monkeypatch.delenv("VCLAW_CACHE_DIR", raising=False)
    assert main(["image", "fetch", "ubuntu:24.04"]) == 2
    assert "cannot be written" in capsys.readouterr().err
