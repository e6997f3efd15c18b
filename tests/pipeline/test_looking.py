"""Looking at a claw that runs, stands still or is broken: inspect, timeline, and the preflight."""

from __future__ import annotations

import json
import stat
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.pipeline.test_commands import vclaw, words
from tests.pipeline.world import World
from tests.support.command import CLOSED_URL, run_vclaw
from vclaw import boot, fsutil, readiness
from vclaw.identity import MASK

SECRET = "sk-planted-in-the-environment"


@pytest.fixture
def ran(world: World) -> World:
    """The claw `new` was run to ready, with a provider's key."""
    world.build_runtime()
    vclaw(world, *words(world), "--env", f"OPENAI_API_KEY={SECRET}")
    return world


def inspected(world: World, name: str = "new") -> dict[str, Any]:
    known: dict[str, Any] = json.loads(vclaw(world, "inspect", name, "--json").stdout)
    return known


def test_inspect_shows_everything_of_a_ready_claw(ran: World) -> None:
    known = inspected(ran)
    assert known["status"] == "ready"
    assert known["problems"] == []
    assert known["spec"]["workspace"] == str(ran.spec.workspace)
    assert [port["use"] for port in known["ports"]] == ["gateway", "ssh"]
    assert known["process"]["alive"] is True
    assert known["disk"]["digest"] == known["image"]["digest"]
    assert known["runtime"]["digest"].startswith("sha256:")
    assert [check["name"] for check in known["checks"]] == [c.name for c in readiness.CHECKS]
    assert all(check["holds"] and check["seconds"] is not None for check in known["checks"])
    assert known["guest_steps"][0]["name"] == "hostname"
    names = [stage["name"] for stage in known["stages"]]
    assert set(names) == {"prepare", "image", "runtime", "disk", "seed", "boot", "ready"}


def test_inspect_masks_the_token_and_the_environment(ran: World) -> None:
    token = fsutil.read_json(ran.home.claw("new").secrets)["token"]
    said = vclaw(ran, "inspect", "new").stdout + vclaw(ran, "inspect", "new", "--json").stdout
    assert SECRET not in said
    assert token not in said
    assert "PRIVATE KEY" not in said
    assert inspected(ran)["secrets"]["env"] == {"OPENAI_API_KEY": MASK}


def test_inspect_names_the_check_that_does_not_hold_with_its_hint(ran: World) -> None:
    ran.turn("not-ready")
    checks = {check["name"]: check["holds"] for check in inspected(ran)["checks"]}
    assert checks.pop("gateway ready") is False
    assert all(checks.values())
    text = vclaw(ran, "inspect", "new").stdout
    assert f"hint: {readiness.CHECKS[-1].hint.split(';')[0]}" in text


def test_a_claw_that_stands_still_is_not_asked(ran: World) -> None:
    vclaw(ran, "suspend", "new")
    held = [check["holds"] for check in inspected(ran)["checks"]]
    assert held == [True, *[None] * (len(held) - 1)]
    vclaw(ran, "stop", "new", "--force")
    known = inspected(ran)
    assert known["process"] is None
    assert known["checks"][0]["holds"] is False
    assert known["stages"] != []


def test_a_broken_claw_is_shown_with_its_reasons(ran: World) -> None:
    ran.home.claw("new").spec.write_text("{")
    known = inspected(ran)
    assert known["status"] == "broken"
    assert known["spec"] is None
    assert "claw.json is damaged" in known["problems"][0]
    assert "broken" in vclaw(ran, "inspect", "new").stdout


def test_run_tells_where_its_time_went_once(world: World) -> None:
    world.build_runtime()
    (line,) = [
        text
        for text in vclaw(world, *words(world)).stderr.splitlines()
        if text.startswith("time: ")
    ]
    parts = [part.split()[0] for part in line.removeprefix("time: ").split(", ")]
    assert parts[0] == "prepare"
    assert parts[-3:] == ["boot", "guest", "gateway"]
    assert set(parts) >= {"image", "runtime", "copy", "seed"}
    assert "time: " not in vclaw(world, *words(world)).stderr


def test_the_timeline_survives_a_stop_and_is_drawn(ran: World) -> None:
    vclaw(ran, "stop", "new")
    picture = ran.knobs / "boot.svg"
    assert vclaw(ran, "timeline", "new", "--svg", str(picture)).stdout == f"{picture}\n"
    texts = list(ElementTree.parse(picture).getroot().itertext())
    assert any(text.startswith("new: ready after") for text in texts)
    assert {"copy", "kernel and system", "gateway ready"} <= set(texts)
    spans = json.loads(vclaw(ran, "timeline", "new", "--json").stdout)["spans"]
    assert {span["group"] for span in spans} == {"host", "guest", "checks"}
    assert all(0 <= span["start"] <= span["end"] for span in spans)
    assert "kernel and system" in vclaw(ran, "timeline", "new").stdout


def test_a_wait_that_comes_later_is_added(world: World) -> None:
    world.build_runtime()
    vclaw(world, *words(world), "--no-wait")
    first = json.loads(vclaw(world, "timeline", "new", "--json").stdout)
    assert "gateway" not in first["phases"]
    vclaw(world, *words(world))
    later = json.loads(vclaw(world, "timeline", "new", "--json").stdout)
    assert later["began"] == first["began"]
    assert later["phases"]["boot"] == first["phases"]["boot"]
    assert "gateway" in later["phases"]


def test_a_stage_that_failed_is_kept_as_failed(world: World) -> None:
    world.build_runtime()
    world.turn("fail")
    vclaw(world, *words(world), status=1)
    spans = json.loads(vclaw(world, "timeline", "new", "--json").stdout)["spans"]
    assert {span["name"]: span["outcome"] for span in spans}["boot"] == "failed"


def test_a_claw_that_was_never_run_has_no_timeline(world: World) -> None:
    said = vclaw(world, "timeline", "demo", status=2).stderr
    assert "No boot of demo was timed yet" in said
    assert "There is no claw 'dem'" in vclaw(world, "inspect", "dem", status=2).stderr


def test_a_picture_that_cannot_be_written_exits_2_and_leaves_nothing(ran: World) -> None:
    target = ran.knobs / "no" / "boot.svg"
    assert (
        "cannot be written" in vclaw(ran, "timeline", "new", "--svg", str(target), status=2).stderr
    )
    assert not target.parent.exists()


def test_what_was_kept_holds_no_secret_and_only_its_owner_gets_to_it(ran: World) -> None:
    paths = ran.home.claw("new")
    assert SECRET not in paths.timeline.read_text()
    assert stat.S_IMODE(paths.root.stat().st_mode) == 0o700


def test_a_run_without_a_key_says_how_to_give_one_and_goes_on(world: World) -> None:
    world.build_runtime()
    done = vclaw(world, *words(world))
    assert done.stderr.count("no model provider's key is configured") == 1
    assert "status: ready" in done.stdout


def test_a_run_with_a_key_says_nothing_of_it(world: World) -> None:
    world.build_runtime()
    for _ in range(2):  # the second time it is remembered
        done = vclaw(world, *words(world), "--env", f"OPENAI_API_KEY={SECRET}")
        assert "provider" not in done.stderr


def test_doctor_reports_a_crashed_claw_and_its_findings_as_json(ran: World) -> None:
    process = boot.current(ran.home.claw("new"))
    assert process is not None
    process.end(patience=0.0)
    done = run_vclaw("doctor", "--json", env={**ran.env, "VCLAW_UBUNTU_URL": CLOSED_URL})
    result = json.loads(done.stdout)
    findings = {item["name"]: item for item in result["findings"]}
    assert findings["claw new"]["level"] == "warn"
    assert "exited" in findings["claw new"]["found"]
    assert findings["image server"]["level"] == "warn"
    assert done.returncode == (0 if result["fit"] else 1)
