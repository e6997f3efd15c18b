"""The commands that build a Debian image, and what happens when one fails or is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.images import debian, refs, store
from vclaw.model import host_arch
from vclaw.progress import Silent

ROOT = debian.Tools(Path("/bin/mmdebstrap"), Path("/sbin/mke2fs"), Path("/bin/tar"), None)


def test_the_build_command_is_this_one() -> None:
    hook = (Path("/a b/debian.sh"), Path("/a b/x.service"))
    found = debian.argv(refs.parse("debian:12", "arm64"), ROOT, Path("/b/root.tar"), hook)
    assert found == [
        "/bin/mmdebstrap",
        "--variant=apt",
        "--format=tar",
        "--architectures=arm64",
        f"--include=linux-image-arm64,{debian.PACKAGES}",
        '--aptopt=Apt::Install-Recommends "false"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"; '
        'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vclaw"; '
        'printf "virtio_pci\\nvirtio_blk\\next4\\n" >"$1/etc/initramfs-tools/modules"',
        "--customize-hook=sh '/a b/debian.sh' \"$1\" '/a b/x.service'",
        "--skip=output/dev",
        "bookworm",
        "/b/root.tar",
    ]


def test_a_mirror_is_the_last_word() -> None:
    ref = refs.parse("debian:13", "amd64")
    found = debian.argv(
        ref, ROOT, Path("t"), (Path("h"), Path("u")), "http://mirror.example/debian"
    )
    assert found[-3:] == ["trixie", "t", "http://mirror.example/debian"]


def test_an_ordinary_user_keeps_roots_files_with_fakeroot() -> None:
    user = debian.Tools(ROOT.mmdebstrap, ROOT.mke2fs, ROOT.tar, Path("/bin/fakeroot"))
    unpack, make = debian.file_system_argvs(user, Path("t"), Path("d"), Path("i"), Path("o"))
    assert unpack[:6] == ["/bin/fakeroot", "-s", "o", "--", "/bin/tar", "--numeric-owner"]
    assert make[:5] == ["/bin/fakeroot", "-i", "o", "--", "/sbin/mke2fs"]
    assert make[-4:] == ["-d", "d", "i", "3072M"]


def test_a_host_without_mmdebstrap_is_told_its_package(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(own_home))
    with pytest.raises(UsageError) as caught:
        store.fetch(Home(own_home, own_home), refs.parse("debian:12"), Silent())
    assert "apt-get install mmdebstrap" in caught.value.hint
    assert not own_home.exists()


def test_a_foreign_architecture_is_not_built() -> None:
    foreign = "arm64" if host_arch() == "amd64" else "amd64"
    with pytest.raises(UsageError, match="cannot be built"):
        debian.check(refs.parse("debian:12", foreign))


def _program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _tools(folder: Path, script: str) -> debian.Tools:
    return debian.Tools(_program(folder, "mmdebstrap", script), ROOT.mke2fs, ROOT.tar, None)


def test_a_failed_build_keeps_its_log_alone(tmp_path: Path) -> None:
    ref, home = refs.parse("debian:12"), Home(tmp_path / "home", tmp_path / "home")
    paths = home.image(ref)
    paths.root.mkdir(parents=True)
    tools = _tools(tmp_path, "echo 'E: no network'; exit 25")
    with pytest.raises(VclawError) as caught:
        debian.build(ref, paths, tools, Silent())
    assert "exit status 25" in caught.value.message
    assert "E: no network" in caught.value.hint
    assert [path.name for path in paths.root.iterdir()] == ["build.log"]


INTERRUPTED = """
import sys
from pathlib import Path
from vclaw.cli import main
from vclaw.images import debian
import vclaw.proc
debian.check = lambda ref: debian.Tools(Path(sys.argv[1]), Path("x"), Path("x"), None)
sys.exit(main(["image", "fetch", "debian:12"]))
"""


def test_an_interrupted_build_ends_its_programs_and_leaves_nothing(
    own_home: Path, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 60 & echo $! >{pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    program = _program(tmp_path, "mmdebstrap", script)
    words = [sys.executable, "-c", INTERRUPTED, str(program)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=dict(os.environ)) as building:
        deadline = time.monotonic() + 20
        while not pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        building.send_signal(signal.SIGTERM)
        _, errors = building.communicate(timeout=20)
    assert building.returncode == 130, errors
    assert not _is_alive(int(pid_file.read_text()))
    assert list((own_home / "images").iterdir()) == []


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
