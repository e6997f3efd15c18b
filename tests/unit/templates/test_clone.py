"""How far a claw has come that goes on from a template's guest, and what it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.templates import META, lay_over, plant
from vclaw import boot, channel, fsutil, wake
from vclaw.errors import VclawError
from vclaw.home import Home, TemplatePaths
from vclaw.hypervisor.qemu import Qemu
from vclaw.paths import ClawPaths
from vclaw.templates import clone, memory

KEY = "debian_12-0123456789"


@pytest.fixture
def template(home: Home) -> TemplatePaths:
    return plant(home, KEY)


@pytest.fixture
def claw(home: Home, template: TemplatePaths) -> ClawPaths:
    """A claw that fits the template, and has not begun."""
    paths = ClawPaths(lay_over(home, "demo", template))
    paths.seed.touch()
    os.truncate(paths.seed, META.seed_bytes)
    record(paths)
    clone.mark(paths, clone.FRESH)
    return paths


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No claw of these tests has a machine.json, nor this host a hypervisor."""
    monkeypatch.setattr("vclaw.boot.machine", lambda _: None)
    monkeypatch.setattr(Qemu, "fingerprint", lambda *_: META.fingerprint)


def record(paths: ClawPaths, digest: str = META.runtime) -> None:
    """installed.json of a claw that is booted with this runtime disk."""
    names = ("vclaw", "openclaw", "node", "runtime", "lock_digest")
    value = {"schema": 1, **dict.fromkeys(names, ""), "digest": digest}
    fsutil.write_json(paths.installed, value)


@pytest.mark.parametrize("step", [clone.FRESH, clone.BEGUN, clone.DONE])
def test_a_step_is_read_as_it_was_marked(claw: ClawPaths, step: str) -> None:
    clone.mark(claw, step, 7)
    assert clone.step(claw) == step
    assert fsutil.read_json(claw.clone) == {"schema": 1, "step": step, "memory": 7}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"step": "other"}', '{"step": 1}', '{"step": ["fresh"]}']
)
def test_a_damaged_record_means_that_the_claw_boots_from_its_disk(
    claw: ClawPaths, text: str
) -> None:
    claw.clone.write_text(text)
    assert clone.step(claw) == ""


def test_a_claw_without_a_record_boots_from_its_disk(claw: ClawPaths) -> None:
    claw.clone.unlink()
    assert clone.step(claw) == ""
    claw.clone.mkdir()
    assert clone.step(claw) == ""


@pytest.mark.parametrize(
    ("step", "nobodys"), [(clone.FRESH, True), (clone.BEGUN, True), (clone.DONE, False)]
)
def test_a_guest_is_nobodys_until_it_knows_who_it_is(
    claw: ClawPaths, step: str, nobodys: bool
) -> None:
    clone.mark(claw, step)
    assert clone.nobodys(claw) is nobodys


def test_a_claw_is_given_the_memory_and_the_devices_state(
    claw: ClawPaths, template: TemplatePaths
) -> None:
    with clone.opened(claw, template) as saved:
        assert os.pread(saved.memory_fd, 2**24 + 1, 0) == template.memory.read_bytes()
        assert os.read(saved.device_fd, 100) == template.device.read_bytes()
        assert saved.memory.path == Path(f"/proc/self/fd/{saved.memory_fd}")
        assert not saved.memory.kept
        fds = (saved.memory_fd, saved.device_fd)
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize("size", [META.seed_bytes - 2048, META.seed_bytes * 2])
def test_a_seed_of_another_size_does_not_fit(
    claw: ClawPaths, template: TemplatePaths, size: int
) -> None:
    os.truncate(claw.seed, size)
    with pytest.raises(VclawError, match=f"seed has {size} bytes"), clone.opened(claw, template):
        pass


@pytest.mark.parametrize("known", ["sha256:other", None, "{"])
def test_another_runtime_disk_or_an_unknown_one_does_not_fit(
    claw: ClawPaths, template: TemplatePaths, known: str | None
) -> None:
    if known is None:
        claw.installed.unlink()
    elif known == "{":
        claw.installed.write_text(known)
    else:
        record(claw, known)
    with pytest.raises(VclawError), clone.opened(claw, template):
        pass


def test_another_machine_or_hypervisor_does_not_fit(
    claw: ClawPaths, template: TemplatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the package was upgraded after the claw's disk was made."""
    monkeypatch.setattr(Qemu, "fingerprint", lambda *_: "another")
    with pytest.raises(VclawError, match="hypervisor is another"), clone.opened(claw, template):
        pass


@pytest.mark.parametrize("name", ["memory", "device", "template.json"])
def test_a_template_that_is_not_whole_does_not_serve(
    claw: ClawPaths, template: TemplatePaths, name: str
) -> None:
    (template.root / name).unlink()
    with pytest.raises(VclawError, match="is not whole"), clone.opened(claw, template):
        pass


def test_a_second_clone_takes_the_memory_over_from_the_process_of_the_first(
    home: Home, claw: ClawPaths, template: TemplatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Me:
        pid = os.getpid()

    first = ClawPaths(lay_over(home, "first", template))
    monkeypatch.setattr("vclaw.boot.current", lambda paths: Me() if paths == first else None)
    with clone.opened(claw, template) as held:
        inode = memory.inode(held.memory_fd)
        with clone.opened(claw, template) as unknown:
            assert memory.inode(unknown.memory_fd) != inode, "vclaw has no record of it"
        clone.mark(first, clone.DONE, inode)
        with clone.opened(claw, template) as saved:
            assert memory.inode(saved.memory_fd) == inode


@pytest.mark.parametrize("noted", ["7", None, 0, True, []])
def test_a_damaged_note_of_the_memory_is_passed_over(
    home: Home, claw: ClawPaths, template: TemplatePaths, noted: object
) -> None:
    first = ClawPaths(lay_over(home, "first", template))
    fsutil.write_json(first.clone, {"schema": 1, "step": "done", "memory": noted})
    with clone.opened(claw, template):
        pass


class Guest:
    """Takes the place of the channel: gives no answer at first, then takes what it is told."""

    def __init__(self, silent: int) -> None:
        self.told: list[dict[str, object]] = []
        self._silent = silent

    def ask(self, _path: Path, op: str, _timeout: float, **fields: object) -> dict[str, object]:
        self.told.append({"op": op, **fields})
        if len(self.told) <= self._silent:
            raise channel.NoAnswer("Nothing answers.")
        return {}


def test_a_guest_is_introduced_with_fresh_randomness_every_time_until_it_answers(
    claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = Guest(silent=2)
    monkeypatch.setattr(channel, "ask", guest.ask)
    monkeypatch.setattr(boot, "is_up", lambda _paths: True)
    clone.mark(claw, clone.BEGUN, 7)
    clone.introduce(claw)
    assert [told["op"] for told in guest.told] == ["introduce"] * 3
    entropy = {str(told["entropy"]) for told in guest.told}
    assert len(entropy) == 3
    assert all(len(bytes.fromhex(word)) == wake.ENTROPY_BYTES for word in entropy)
    assert fsutil.read_json(claw.clone) == {"schema": 1, "step": "done", "memory": 7}


def test_a_guest_that_never_answers_stays_nobodys(
    claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "ask", Guest(silent=10**9).ask)
    monkeypatch.setattr(clone, "INTRODUCE_SECONDS", 0.05)
    monkeypatch.setattr(boot, "is_up", lambda _paths: True)
    clone.mark(claw, clone.BEGUN)
    with pytest.raises(channel.NoAnswer):
        clone.introduce(claw)
    assert clone.step(claw) == clone.BEGUN


def test_a_guest_whose_process_has_ended_is_not_asked_again(
    claw: ClawPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = Guest(silent=10**9)
    monkeypatch.setattr(channel, "ask", guest.ask)
    clone.mark(claw, clone.BEGUN)
    with pytest.raises(channel.NoAnswer):
        clone.introduce(claw)
    assert len(guest.told) == 1


def test_it_is_on_record_that_a_guest_may_have_used_the_disk_before_it_goes_on(
    claw: ClawPaths, template: TemplatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    monkeypatch.setattr(Qemu, "resume", lambda _, paths: seen.append(clone.step(paths)))
    monkeypatch.setattr(channel, "ask", Guest(silent=0).ask)
    with clone.opened(claw, template) as saved:
        clone.let_go(claw, saved)
        assert fsutil.read_json(claw.clone)["memory"] == memory.inode(saved.memory_fd)
    assert seen == [clone.BEGUN]
    assert clone.step(claw) == clone.DONE
