"""The commands and their bad input through the installed entry point; no VM is booted."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import files_under, run_vclaw, show
from vclaw.model import host_arch

QEMU = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}.get(host_arch(), "")

USED_PROGRAMS = (
    *("sh", "env", "tar", "fakeroot", "newuidmap", "mmdebstrap", "mke2fs", "mksquashfs"),
    *("qemu-img", QEMU, "ssh", "ssh-keygen", "node", "npm"),
)
"""What vclaw may look for on PATH."""

OTHER_OWNER = "--bounding-set=-dac_override,-dac_read_search"
"""For setpriv(1): root without the power to read and write everything."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on 127.0.0.1 that this process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def assert_refused(done: subprocess.CompletedProcess[str], home: Path, *expected: str) -> None:
    """Exit 2, one sentence and one hint as the last lines of stderr, and nothing left in `home`."""
    assert done.returncode == 2, show(done)
    assert "Traceback" not in done.stderr, show(done)
    sentence, hint = done.stderr.splitlines()[-2:]
    assert sentence.startswith("vclaw: "), show(done)
    assert sentence.endswith((".", "?")), show(done)
    assert hint.startswith("       "), show(done)
    assert hint.strip(), show(done)
    assert done.stderr.count("vclaw: ") == 1, show(done)
    for word in expected:
        assert word in sentence + hint, show(done)
    assert files_under(home) == set()
    assert not list(home.glob("instances/*")), "a claw's folder was left"
    assert not list(home.glob("images/*")), "an image's folder was left"


BAD_INPUT = {
    "unknown distribution": ("run nosuch:1", ["nosuch:1", "vclaw image ls"]),
    "unknown release": ("run ubuntu:99.04", ["ubuntu:99.04"]),
    "misspelt image": ("image fetch ubunut:24.04", ["ubunut:24.04", "ubuntu:24.04"]),
    "missing image file": ("run ./no-such-disk.img", ["no-such-disk.img"]),
    "malformed date": ("image fetch ubuntu:24.04@2026-09", ["2026-09", "YYYYMMDD"]),
    "impossible date": ("image fetch ubuntu:24.04@20261341", ["20261341", "YYYYMMDD"]),
    "date of a built image": ("image fetch debian:12@20260930", ["debian:12"]),
    "unsupported architecture": ("image fetch ubuntu:24.04 --arch riscv64", ["riscv64", "amd64"]),
    "image that is not cached": ("image rm ubuntu:24.04", ["ubuntu:24.04", "vclaw image ls"]),
    "name with white space": ("run debian:12 --name=a\tb", ["name"]),
    "name with a slash": ("run debian:12 --name=../up", ["../up"]),
    "empty name": ("run debian:12 --name=", ["name"]),
    "name that looks like an option": ("run debian:12 --name=-x", ["-x"]),
    "very long name": (f"run debian:12 --name={'x' * 200}", ["name"]),
    "missing workspace": ("run debian:12 --workspace=/no/such/folder", ["/no/such/folder"]),
    "workspace that is a file": ("run debian:12 --workspace=/etc/hostname", ["/etc/hostname"]),
    "port too high": ("run debian:12 --port=65536", ["65536", "65535"]),
    "port zero": ("run debian:12 --port=0", ["0"]),
    "port that is no number": ("run debian:12 --port=http", ["http"]),
    "port given twice": (
        "run debian:12 --port=18999 --publish 18999:80",
        ["18999"],
    ),
    "port published twice": (
        "run debian:12 --publish 18998:80 --publish 127.0.0.1:18998:81",
        ["18998"],
    ),
    "publish without a guest port": ("run debian:12 --publish 8080", ["8080", "HOST:GUEST"]),
    "publish with words": ("run debian:12 --publish web:80", ["web:80"]),
    "publish too many parts": ("run debian:12 --publish 1:2:3:4", ["1:2:3:4"]),
    "publish out of range": ("run debian:12 --publish 70000:80", ["70000"]),
    "publish beyond the loopback": ("run debian:12 --publish 0.0.0.0:18997:80", ["127.0.0.1"]),
    "no cpu": ("run debian:12 --cpus=0", ["0"]),
    "more cpus than the host has": ("run debian:12 --cpus=4096", ["4096"]),
    "cpus that are no number": ("run debian:12 --cpus=two", ["two"]),
    "memory too small": ("run debian:12 --memory-mib=1024", ["1024", "2048"]),
    "disk too small": ("run debian:12 --disk-gib=0", ["disk"]),
    "environment without a name": ("run debian:12 --env==x", ["=x"]),
    "missing environment file": ("run debian:12 --env-file=/no/such.env", ["/no/such.env"]),
    "unknown claw to start": ("start nosuch", ["nosuch", "vclaw ps"]),
    "unknown claw to stop": ("stop nosuch", ["nosuch", "vclaw ps"]),
    "unknown claw to suspend": ("suspend nosuch", ["nosuch", "vclaw ps"]),
    "unknown claw to resume": ("resume nosuch", ["nosuch", "vclaw ps"]),
    "unknown claw to remove": ("rm nosuch", ["nosuch", "vclaw ps"]),
}
"""What is wrong -> the command's words, and what its two sentences must name."""


@pytest.mark.parametrize(("words", "expected"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_refused_with_a_sentence_and_a_hint(
    words: str, expected: list[str], home: Path, offline_env: dict[str, str]
) -> None:
    done = run_vclaw(*words.split(" "), env=offline_env)
    assert_refused(done, home, *expected)


def test_a_taken_port_that_was_asked_for_is_refused(
    taken_port: int, home: Path, offline_env: dict[str, str]
) -> None:
    done = run_vclaw("run", "debian:12", f"--port={taken_port}", env=offline_env)
    assert_refused(done, home, str(taken_port))


def test_a_taken_published_port_is_refused(
    taken_port: int, home: Path, offline_env: dict[str, str]
) -> None:
    done = run_vclaw("run", "debian:12", "--publish", f"{taken_port}:80", env=offline_env)
    assert_refused(done, home, str(taken_port))


def _path_without(folder: Path, missing: str) -> dict[str, str]:
    """A PATH on which all that vclaw uses is found, but one program."""
    folder.mkdir()
    for name in USED_PROGRAMS:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found and name != missing:
            (folder / name).symlink_to(found)
    return {"PATH": str(folder)}


def test_debian_without_mmdebstrap_names_its_package(
    tmp_path: Path, home: Path, offline_env: dict[str, str]
) -> None:
    env = {**offline_env, **_path_without(tmp_path / "bin", "mmdebstrap")}
    done = run_vclaw("image", "fetch", "debian:12", env=env)
    assert_refused(done, home, "apt-get install mmdebstrap")


def test_run_without_qemu_names_its_package(
    tmp_path: Path, home: Path, offline_env: dict[str, str]
) -> None:
    env = {**offline_env, **_path_without(tmp_path / "bin", QEMU)}
    done = run_vclaw("run", "debian:12", f"--workspace={tmp_path}", env=env)
    assert_refused(done, home, "apt-get install qemu-system-")


def _as_owner_of_little() -> tuple[str, ...]:
    """Words that run a command without root's power over others' files."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv of util-linux is not here")
    probe = [setpriv, OTHER_OWNER, "true"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        return ()  # an ordinary user has no such power
    return (setpriv, OTHER_OWNER)


def test_an_unreadable_workspace_is_refused(
    workspace: Path, home: Path, offline_env: dict[str, str]
) -> None:
    workspace.chmod(0)
    try:
        done = run_vclaw(
            *("run", "debian:12", f"--workspace={workspace}"),
            env=offline_env,
            before=_as_owner_of_little(),
        )
    finally:
        workspace.chmod(0o755)
    assert_refused(done, home, str(workspace))


def test_a_cache_folder_that_cannot_be_written_is_refused(
    home: Path, offline_env: dict[str, str]
) -> None:
    home.mkdir(mode=0o555)
    before = _as_owner_of_little()
    done = run_vclaw("image", "fetch", "debian:12", env=offline_env, before=before)
    assert_refused(done, home, str(home), "VCLAW_HOME")


def test_a_home_that_is_a_file_is_refused(home: Path, offline_env: dict[str, str]) -> None:
    home.write_text("not a folder")
    done = run_vclaw("image", "fetch", "debian:12", env=offline_env)
    assert done.returncode == 2, show(done)
    assert str(home) in done.stderr
    assert home.read_text() == "not a folder"


def _on_a_full_disk(home: Path) -> tuple[str, ...]:
    """Words that run a command where `home` is a file system of 1 MiB, in a namespace of its own.

    What is left there is listed on stdout.
    """
    script = (
        'mount -t tmpfs -o size=1m none "$0" && "$@"; status=$?;'
        ' find "$0" -type f -not -path "*/locks/*" -not -name digests.json'
        ' -printf "left: %P\\n"; exit $status'
    )
    unshare = ("unshare", "--mount", "--map-root-user", "--user")
    home.mkdir()
    probe = subprocess.run([*unshare, "true"], check=False, capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no user namespaces here: {probe.stderr.decode().strip()}")
    return (*unshare, "sh", "-c", script, str(home))


def test_a_full_disk_is_noticed_before_an_image_is_copied(
    tmp_path: Path, home: Path, offline_env: dict[str, str]
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\x5a" * 510 + b"\x55\xaa" + b"\x5a" * 2**23)  # with a boot sector
    done = run_vclaw("image", "fetch", image, env=offline_env, before=_on_a_full_disk(home))
    assert_refused(done, home, "MiB", "missing")
    assert "left: " not in done.stdout, show(done)


def test_a_full_disk_is_noticed_before_an_image_is_built(
    home: Path, offline_env: dict[str, str]
) -> None:
    before = _on_a_full_disk(home)
    done = run_vclaw("image", "fetch", "debian:12", env=offline_env, before=before)
    assert_refused(done, home, "MiB", "missing")
    assert "left: " not in done.stdout, show(done)


def test_a_damaged_image_is_shown_as_broken_and_the_others_still_listed(
    home: Path, offline_env: dict[str, str]
) -> None:
    damaged = home / "images" / "debian_12"
    damaged.mkdir(parents=True)
    (damaged / "image.json").write_text("{ not json")
    done = run_vclaw("image", "ls", env=offline_env)
    assert done.returncode == 0, show(done)
    assert "Traceback" not in done.stderr
    assert "broken" in done.stdout, show(done)
    assert "ubuntu:24.04" in done.stdout, show(done)


def test_a_damaged_claw_is_shown_as_broken(home: Path, offline_env: dict[str, str]) -> None:
    damaged = home / "instances" / "hurt"
    damaged.mkdir(parents=True)
    (damaged / "claw.json").write_text("{ not json")
    done = run_vclaw("ps", env=offline_env)
    assert done.returncode == 0, show(done)
    assert "Traceback" not in done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("hurt"))
    assert "broken" in row


def test_a_damaged_claw_can_be_removed(home: Path, offline_env: dict[str, str]) -> None:
    damaged = home / "instances" / "hurt"
    damaged.mkdir(parents=True)
    (damaged / "claw.json").write_text("{ not json")
    done = run_vclaw("rm", "hurt", "--yes", env=offline_env)
    assert done.returncode == 0, show(done)
    assert not damaged.exists()


def test_a_taken_name_is_refused_and_its_claw_left_alone(
    home: Path, workspace: Path, offline_env: dict[str, str]
) -> None:
    claw = home / "instances" / "mine"
    claw.mkdir(parents=True)
    (claw / "claw.json").write_text("{ not json")
    words = ("run", "debian:12", "--name=mine", f"--workspace={workspace}")
    done = run_vclaw(*words, env=offline_env)
    assert done.returncode == 2, show(done)
    assert "mine" in done.stderr
    assert files_under(home) == {"instances/mine/claw.json"}
    assert (claw / "claw.json").read_text() == "{ not json"


def test_ps_without_claws_succeeds(home: Path, offline_env: dict[str, str]) -> None:
    done = run_vclaw("ps", "--json", env=offline_env)
    assert done.returncode == 0, show(done)
    assert json.loads(done.stdout) == []
    assert not home.exists(), "looking must not make anything"


def test_image_ls_names_every_supported_image(offline_env: dict[str, str]) -> None:
    done = run_vclaw("image", "ls", env=offline_env)
    assert done.returncode == 0, show(done)
    refs = ("ubuntu:22.04", "ubuntu:24.04", "ubuntu:26.04", "debian:12", "debian:13")
    assert [ref for ref in refs if ref not in done.stdout] == []
    for column in ("REF", "ARCH", "DOWNLOADED", "SIZE", "UPDATED(UTC)"):
        assert column in done.stdout.splitlines()[0], show(done)


@pytest.mark.parametrize(
    "verb", ["run", "ps", "start", "stop", "suspend", "resume", "rm", "image", "doit"]
)
def test_every_verb_explains_itself(verb: str, offline_env: dict[str, str]) -> None:
    done = run_vclaw(verb, "--help", env=offline_env)
    assert done.returncode == 0, show(done)
    assert f"vclaw {verb}" in done.stdout
