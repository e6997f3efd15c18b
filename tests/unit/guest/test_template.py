"""A guest that is kept as a template, and one that goes on from it: what each of them does."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vclaw import seed

GUEST = Path(seed.__file__).with_name("guest")


class Calls:
    """Stands in for `subprocess.run` and ioctl(2): keeps what was asked for, in its order."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.controls: list[tuple[int, object]] = []
        self.fail = ""

    def run(self, argv: list[str], **_: object) -> None:
        self.made.append(" ".join(argv))
        if self.fail and self.fail in self.made[-1]:
            raise RuntimeError(f"{self.fail} failed")

    def ioctl(self, _fd: object, request: int, argument: object = None) -> None:
        self.made.append(f"ioctl {request:#x}")
        self.controls.append((request, argument))


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls) -> dict[str, Any]:
    """agent.py's names, with its files below `tmp_path`, nothing of the host in its reach."""
    monkeypatch.syspath_prepend(str(GUEST))
    module = runpy.run_path(str(GUEST / "agent.py"), run_name="agent")
    names: dict[str, Any] = module["answer"].__globals__
    for name, file in (
        ("INTRODUCED", "introduced"),
        ("MACHINE_ID", "machine-id"),
        ("RANDOM_SEED", "random-seed"),
        ("SEED_DISK", "virtio-seed"),
        ("RANDOM", "urandom"),
    ):
        names[name] = tmp_path / file
    names["SEED_DISK"].touch()
    monkeypatch.setattr(names["apply"], "SEED", tmp_path / "seed" / "vclaw")
    monkeypatch.setattr(names["apply"], "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(names["subprocess"], "run", calls.run)
    monkeypatch.setattr(names["fcntl"], "ioctl", calls.ioctl)
    monkeypatch.setattr(time, "clock_settime", lambda _, now: calls.made.append(f"time {now}"))
    return names


def ask(agent: dict[str, Any], op: str, **fields: object) -> dict[str, Any]:
    request = json.dumps({"id": 1, "op": op, **fields}).encode()
    return dict(agent["answer"](request))


BEGIN_ANEW = (
    "systemctl --no-block try-restart systemd-resolved.service",
    "systemctl --no-block restart vclaw-seed.service",
)

INTRODUCTION = {"time": 1.5, "entropy": "ab" * 64}


def test_freezing_lets_go_of_the_seed_and_then_writes_the_disk_out(
    agent: dict[str, Any], calls: Calls, tmp_path: Path
) -> None:
    assert ask(agent, "freeze") == {"id": 1, "ok": True}
    flush = f"ioctl {agent['BLKFLSBUF']:#x}"
    booted = "systemctl is-system-running --wait"
    assert calls.made == [booted, f"umount {tmp_path / 'seed'}", flush, "sync"]


def test_a_frozen_guests_disk_holds_neither_a_random_seed_nor_a_machine_id(
    agent: dict[str, Any], calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent["RANDOM_SEED"].write_bytes(b"seed")
    agent["MACHINE_ID"].write_text("0" * 32 + "\n")

    def run(argv: list[str], **_: object) -> None:
        if argv == ["sync"]:
            assert not agent["RANDOM_SEED"].exists()
            assert agent["MACHINE_ID"].read_bytes() == b"", "empty, which is no first boot"
        calls.run(argv)

    monkeypatch.setattr(agent["subprocess"], "run", run)
    assert ask(agent, "freeze")["ok"]
    assert calls.made[-1] == "sync"


def test_a_guest_that_cannot_let_go_of_the_seed_is_not_frozen(
    agent: dict[str, Any], calls: Calls
) -> None:
    calls.fail = "umount"
    assert ask(agent, "freeze")["error"] == "RuntimeError: umount failed"
    assert calls.made[-1].startswith("umount ")


def test_an_introduced_guest_has_the_hosts_time_another_randomness_and_another_id(
    agent: dict[str, Any], calls: Calls
) -> None:
    agent["MACHINE_ID"].write_text("")
    assert ask(agent, "introduce", **INTRODUCTION) == {"id": 1, "ok": True}
    added = struct.pack("ii64s", 512, 64, bytes.fromhex("ab" * 64))
    assert calls.controls == [(agent["RNDADDENTROPY"], added), (agent["RNDRESEEDCRNG"], None)]
    assert calls.made[0] == "time 1.5"
    assert calls.made[-3:] == [
        "systemctl --no-block restart systemd-journald.service",
        *BEGIN_ANEW,
    ]
    machine_id = agent["MACHINE_ID"].read_text()
    assert len(bytes.fromhex(machine_id)) == 16
    assert agent["MACHINE_ID"].stat().st_mode & 0o777 == 0o444


def test_the_machine_id_is_made_after_the_randomness_is_another(
    agent: dict[str, Any], calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.urandom
    monkeypatch.setattr(os, "urandom", lambda n: [calls.made.append("urandom"), real(n)][1])
    ask(agent, "introduce", **INTRODUCTION)
    assert calls.made.index("urandom") > calls.made.index(f"ioctl {agent['RNDRESEEDCRNG']:#x}")


def test_a_second_introduction_sets_the_clock_and_leaves_the_ids(
    agent: dict[str, Any], calls: Calls
) -> None:
    ask(agent, "introduce", **INTRODUCTION)
    machine_id = agent["MACHINE_ID"].read_text()
    calls.made.clear()
    assert ask(agent, "introduce", time=2.5, entropy="cd" * 64)["ok"]
    assert agent["MACHINE_ID"].read_text() == machine_id
    assert calls.made == ["time 2.5", *BEGIN_ANEW]


def test_an_introduction_that_was_cut_short_is_made_up_for(
    agent: dict[str, Any], calls: Calls
) -> None:
    calls.fail = "journald"
    assert not ask(agent, "introduce", **INTRODUCTION)["ok"]
    calls.fail = ""
    calls.made.clear()
    assert ask(agent, "introduce", **INTRODUCTION)["ok"]
    assert "systemctl --no-block restart systemd-journald.service" in calls.made


def test_the_times_of_a_guest_that_went_on_count_from_its_introduction(
    agent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent["apply"], "uptime", lambda: 100.0)
    agent["apply"].REPORT.write_text(json.dumps({"applied": "the template's", "steps": []}))
    assert ask(agent, "status")["uptime"] == 100.0
    ask(agent, "introduce", **INTRODUCTION)
    assert ask(agent, "status")["applied"] == "", "not the claw's own settings yet"
    steps = [{"name": "hostname", "start": 101.0, "end": 102.5}]
    agent["apply"].REPORT.write_text(json.dumps({"applied": "g1", "steps": steps}))
    monkeypatch.setattr(agent["apply"], "uptime", lambda: 103.0)
    status = ask(agent, "status")
    assert status["uptime"] == 3.0
    assert status["steps"] == [{"name": "hostname", "start": 1.0, "end": 2.5}]


@pytest.fixture
def apply(tmp_path: Path) -> dict[str, Any]:
    """apply.py's names, with its folders below `tmp_path`; `called` are the commands it ran."""
    module = runpy.run_path(str(GUEST / "apply.py"), run_name="apply")
    names: dict[str, Any] = module["main"].__globals__
    for name in ("SEED", "RUN", "WARM"):
        names[name] = tmp_path / name.lower()
        names[name].mkdir()
    names["REPORT"] = names["RUN"] / "report.json"
    names["called"] = []
    names["call"] = lambda *words: names["called"].append(" ".join(words))
    return names


@pytest.mark.parametrize("template", [True, False, None])
def test_a_template_takes_its_own_steps_and_a_claw_all(
    apply: dict[str, Any], template: bool | None
) -> None:
    done: list[str] = []
    apply["STEPS"] = (lambda _: done.append("claw"),)
    apply["TEMPLATE_STEPS"] = (lambda _: done.append("template"),)
    guest = {"generation": "g1", **({} if template is None else {"template": template})}
    (apply["SEED"] / "guest.json").write_text(json.dumps(guest))
    assert apply["main"]() == 0
    assert done == ["template" if template else "claw"]
    assert json.loads(apply["REPORT"].read_text())["applied"] == "g1"


def test_a_templates_steps_need_nothing_that_only_a_claw_is_told(apply: dict[str, Any]) -> None:
    """What they read of guest.json is in `template_settings`."""
    told = seed.template_settings(owner=(os.getuid(), os.getgid()), emulated=True)
    names = [step.__name__ for step in apply["TEMPLATE_STEPS"]]
    assert names == ["channel", "user", "runtime", "warm"]
    apply["WARM"].rmdir()
    apply["warm"](told)
    (words,) = apply["called"]
    assert words == f"/usr/bin/env VCLAW_WARM=1 /bin/sh {apply['SEED'] / 'warm.sh'}"
    assert apply["WARM"].stat().st_mode & 0o777 == 0o700


def test_a_user_that_was_a_templates_takes_its_home_along(
    apply: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a template it is nobody; usermod alone leaves the group of the home's files."""
    entry = SimpleNamespace(pw_uid=65534, pw_gid=65534, pw_dir="/home/claw")
    monkeypatch.setattr(apply["pwd"], "getpwnam", lambda _: entry)
    apply["write"] = lambda *_: None
    apply["user"]({"uid": 1234, "gid": 1235})
    assert apply["called"] == [
        "groupmod --non-unique --gid 1235 claw",
        "usermod --non-unique --uid 1234 claw",
        "chgrp --recursive --no-dereference claw /home/claw",
    ]
    apply["called"].clear()
    apply["user"]({"uid": 65534, "gid": 65534})
    assert apply["called"] == []


def test_systemd_reads_its_units_again_only_where_one_has_changed(
    apply: dict[str, Any], tmp_path: Path
) -> None:
    units = tmp_path / "units"
    real = Path

    def path(*words: str) -> Path:
        return units if words == ("/run/systemd/system",) else real(*words)

    apply["Path"] = path
    for name in ("vclaw-agent.service", "openclaw.service", "vclaw-seed.service"):
        shutil.copyfile(GUEST / name, apply["SEED"] / name)
    start = "systemctl start --no-block vclaw-agent.service"
    apply["channel"]({})
    assert apply["called"] == [start], "systemd finds new ones by itself"
    assert {unit.name for unit in units.iterdir()} == {"vclaw-agent.service", "openclaw.service"}
    apply["called"].clear()
    apply["channel"]({})
    assert apply["called"] == [start]
    (apply["SEED"] / "openclaw.service").write_text("[Unit]\nDescription=another\n")
    apply["called"].clear()
    apply["channel"]({})
    assert apply["called"] == ["systemctl daemon-reload", start]
    assert "another" in (units / "openclaw.service").read_text()
