"""The seed: its files, its ISO, and when it is written."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import golden
from vclaw import fsutil, seed
from vclaw.identity import Identity
from vclaw.model import ClawSpec, ImageRef, PortForward

GOLDEN = Path(__file__).with_name("golden_seed")

SPEC = ClawSpec(
    name="demo",
    image=ImageRef("debian", "12", "amd64"),
    openclaw_version="2026.9.6",
    workspace=Path("/home/me/project"),
    cpus=2,
    memory_mib=4096,
    disk_gib=20,
    gateway_port=18790,
    ssh_port=40022,
    publish=(PortForward(8080, 80),),
)

IDENTITY = Identity(
    token="the-token",
    host_private="-----BEGIN OPENSSH PRIVATE KEY-----\nhost\n-----END OPENSSH PRIVATE KEY-----\n",
    host_public="ssh-ed25519 AAAAhost vclaw-guest\n",
    client_public="ssh-ed25519 AAAAclient vclaw-demo\n",
    env={"API_KEY": "se,cret"},
)


def settings(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"owner": (1000, 1000), "emulated": True, "ca": "", **changes}
    spec = given.pop("spec", SPEC)
    return seed.guest_settings(spec, given.pop("identity", IDENTITY), **given)


@pytest.mark.parametrize("name", ["user-data", "meta-data", "network-config", "vclaw/guest.json"])
def test_the_seeds_files_are_the_golden_ones(name: str) -> None:
    files = seed.render(settings())
    golden.check(files[name].decode(), GOLDEN / Path(name).name)


def test_a_machine_id_is_told_where_there_is_one_and_makes_another_generation() -> None:
    plain = settings()
    told = settings(identity=replace(IDENTITY, machine_id="a" * 32))
    assert "machine_id" not in plain
    assert told["machine_id"] == "a" * 32
    assert told["generation"] != plain["generation"]


def test_the_guests_files_are_carried_as_they_are() -> None:
    files = seed.render(settings())
    folder = Path(seed.__file__).with_name("guest")
    carried = {name.removeprefix("vclaw/") for name in files if name.startswith("vclaw/")}
    there = {path.name for path in folder.iterdir() if path.is_file()} - {"__init__.py"}
    assert carried == there | {"guest.json"}
    assert all(files[f"vclaw/{name}"] == (folder / name).read_bytes() for name in there)


def test_no_secret_is_in_what_cloud_init_keeps_readable() -> None:
    files = seed.render(settings())
    for name in ("user-data", "meta-data", "network-config"):
        for secret in (IDENTITY.token, "se,cret", "PRIVATE KEY"):
            assert secret.encode() not in files[name]


def test_the_instance_id_stays_whatever_the_settings_are() -> None:
    other = settings(emulated=False, ca="BEGIN CERTIFICATE", owner=(0, 0))
    assert seed.render(settings())["meta-data"] == seed.render(other)["meta-data"]


@pytest.mark.parametrize(
    "change",
    [
        {"owner": (1000, 1001)},
        {"emulated": False},
        {"ca": "-----BEGIN CERTIFICATE-----\n"},
        {"identity": Identity("another", "a", "b", "c")},
        {"spec": replace(SPEC, gateway_port=18791)},
        {"spec": replace(SPEC, model="openai/gpt-5")},
        {"spec": replace(SPEC, model="a/b", model_base_url="http://127.0.0.1:1/v1")},
        {"spec": replace(SPEC, read_only_workspace=True)},
    ],
    ids=str,
)
def test_any_changed_setting_is_another_generation(change: dict[str, Any]) -> None:
    assert settings()["generation"] == settings()["generation"]
    assert settings(**change)["generation"] != settings()["generation"]


def test_other_variables_make_the_settings_that_they_would_have_made_at_first() -> None:
    other = {"OTHER": "1", "API_KEY": "x"}
    with_other = settings(identity=replace(IDENTITY, env=other))
    changed = seed.with_env(settings(), other)
    assert fsutil.json_bytes(changed) == fsutil.json_bytes(with_other)
    assert seed.with_env(changed, IDENTITY.env) == settings()
    assert changed["generation"] != settings()["generation"]


def test_a_key_that_is_set_is_referred_to_by_its_name() -> None:
    spec = replace(SPEC, model="openai/gpt-5", model_base_url="http://127.0.0.1:1/v1")
    who = replace(IDENTITY, env={"OPENAI_API_KEY": "se,cret"})
    made = settings(spec=spec, identity=who)["openclaw"]
    assert made["agents"]["defaults"]["model"] == {"primary": "openai/gpt-5"}
    assert made["models"]["providers"]["openai"]["apiKey"] == "${OPENAI_API_KEY}"


@pytest.mark.parametrize("readonly", [False, True])
def test_the_workspace_alone_may_be_read_only(readonly: bool) -> None:
    shares = settings(spec=replace(SPEC, read_only_workspace=readonly))["shares"]
    assert {share["tag"]: share["readonly"] for share in shares} == {
        "state": False,
        "workspace": readonly,
    }


def test_the_gateway_accepts_the_hosts_port_as_its_origin() -> None:
    control = settings()["openclaw"]["gateway"]["controlUi"]
    assert control["allowedOrigins"] == ["http://127.0.0.1:18790", "http://localhost:18790"]


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / "seed.iso"
    seed.write_iso(seed.render(settings()), path)
    return path


def test_the_iso_holds_every_file_under_its_name(iso: Path) -> None:
    import pycdlib

    disk = pycdlib.PyCdlib()
    disk.open(str(iso))
    assert disk.pvd.volume_identifier.decode().strip() == "cidata"
    for way in ("rr_path", "joliet_path"):
        found = {}
        for folder, _, names in disk.walk(**{way: "/"}):
            for name in names:
                content = io.BytesIO()
                path = f"{folder.rstrip('/')}/{name}"
                disk.get_file_from_iso_fp(content, **{way: path})
                found[path.lstrip("/")] = content.getvalue()
        assert found == seed.render(settings())
    disk.close()


def test_the_iso_is_for_its_owner_alone(iso: Path) -> None:
    assert iso.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("more", [0, 3 * 2**20, 4 * 2**20, 9 * 2**20])
def test_the_iso_is_a_multiple_of_4_mib_whatever_it_holds(tmp_path: Path, more: int) -> None:
    """A guest that goes on from a saved one takes the disk to be as large as it was then."""
    path = tmp_path / "seed.iso"
    seed.write_iso({**seed.render(settings()), "vclaw/more": bytes(more)}, path)
    size = path.stat().st_size
    assert size % (4 * 2**20) == 0
    assert more < size <= more + 8 * 2**20


def test_a_template_is_told_nothing_of_any_claw() -> None:
    told = seed.template_settings(owner=(1000, 1000), emulated=True)
    assert set(told) == {
        *("schema", "template", "hostname", "uid", "gid", "emulated", "generation"),
    }
    assert told["template"] is True
    carried = b"".join(seed.render(told).values())
    for word in (IDENTITY.token, "se,cret", IDENTITY.host_private, IDENTITY.client_public, "demo"):
        assert word.encode() not in seed.render(told)["vclaw/guest.json"]
    assert IDENTITY.token.encode() not in carried


def test_a_templates_seed_is_as_large_as_a_claws(tmp_path: Path) -> None:
    told = seed.template_settings(owner=(1000, 1000), emulated=True)
    sizes = set()
    for name, guest in (("a", told), ("b", settings(ca="x" * 2**20))):
        seed.write_iso(seed.render(guest), tmp_path / name)
        sizes.add((tmp_path / name).stat().st_size)
    assert len(sizes) == 1


def test_a_templates_generation_changes_with_what_it_is_told() -> None:
    made = [
        seed.template_settings(owner=owner, emulated=emulated)["generation"]
        for owner in ((0, 0), (1, 1))
        for emulated in (True, False)
    ]
    assert len(set(made)) == 4


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="cloud-init is not installed")
def test_cloud_init_finds_the_user_data_valid(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(seed.render(settings())["user-data"])
    done = check_schema("-c", path)
    assert done.returncode == 0, done.stdout
    assert "Valid" in done.stdout
    path.write_bytes(path.read_bytes().replace(b"write_files:\n", b"write_files: 5\nx:\n"))
    assert check_schema("-c", path).returncode != 0


def check_schema(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["cloud-init", "schema", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="cloud-init is not installed")
def test_cloud_init_finds_the_network_config_valid(tmp_path: Path) -> None:
    if "--schema-type" not in check_schema("--help").stdout:
        pytest.skip("this cloud-init checks no network-config")
    path = tmp_path / "network-config"
    path.write_bytes(seed.render(settings())["network-config"])
    done = check_schema("--schema-type", "network-config", "-c", path)
    assert done.returncode == 0, done.stdout


def test_the_user_data_installs_the_unit_as_it_is() -> None:
    data = yaml.safe_load(seed.render(settings())["user-data"])
    (written,) = data["write_files"]
    assert written["content"].encode() == seed.guest_file(seed.SEED_UNIT)
    assert written["path"] == f"/etc/systemd/system/{seed.SEED_UNIT}"


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, Path]:
    """guest.json and the seed that was built from it."""
    guest, target = tmp_path / "guest.json", tmp_path / "seed.iso"
    fsutil.write_json(guest, settings())
    seed.build(guest, target)
    return guest, target


def test_a_current_seed_is_not_written_again(built: tuple[Path, Path]) -> None:
    guest, target = built
    before = target.stat()
    seed.build(guest, target)
    after = target.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_changed_settings_are_written(built: tuple[Path, Path]) -> None:
    guest, target = built
    fsutil.write_json(guest, settings(ca="-----BEGIN CERTIFICATE-----\n"))
    seed.build(guest, target)
    assert b"BEGIN CERTIFICATE" in target.read_bytes()


def test_changed_guest_files_are_written(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, target = built
    monkeypatch.setattr(seed, "guest_file", lambda name: f"a newer {name}".encode())
    seed.build(guest, target)
    assert b"a newer apply.py" in target.read_bytes()


@pytest.mark.parametrize("interrupted", ["seed.write_iso", "fsutil.write_atomic"])
@pytest.mark.parametrize("then", ["the new settings", "the old settings"])
def test_an_interrupted_write_is_made_up_for(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, interrupted: str, then: str
) -> None:
    guest, target = built
    old, new = settings(), settings(emulated=False)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    guest.write_bytes(fsutil.json_bytes(new))
    with monkeypatch.context() as patch:
        patch.setattr(f"vclaw.{interrupted}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            seed.build(guest, target)
    wanted = new if then == "the new settings" else old
    guest.write_bytes(fsutil.json_bytes(wanted))
    seed.build(guest, target)
    assert wanted["generation"].encode() in target.read_bytes()
