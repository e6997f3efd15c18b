"""A start from a template that is cut off at each step, and what the next command makes of it."""

from __future__ import annotations

import json
import signal

import pytest

from tests.pipeline.templates import PATIENCE, TemplateWorld, begin, plant_for
from tests.pipeline.world import World
from tests.support.command import run_vclaw, show
from vclaw import boot, fsutil, prune
from vclaw.claws import status
from vclaw.cli.main import main
from vclaw.templates import clone, store


@pytest.fixture
def cloned(world: World, monkeypatch: pytest.MonkeyPatch) -> TemplateWorld:
    """A claw that has not begun, and the template that fits it."""
    monkeypatch.setenv("VCLAW_TEMPLATE", "yes")
    made = begin(world)
    plant_for(made)
    return made


def cut(world: TemplateWorld, point: str, how: str = "KILL") -> None:
    """Start the claw by a command that gets a signal at a step."""
    env = {**world.env, "VCLAW_CRASH_AT": f"{point}:1:{how}"}
    done = run_vclaw("start", "demo", *PATIENCE, env=env)
    struck = (-signal.Signals[f"SIG{how}"], 130, 143)
    assert done.returncode in struck, show(done)


GOES_ON = {
    "clone.fresh": (clone.FRESH, True),
    "clone.loaded": (clone.FRESH, True),
    "clone.begun": (clone.BEGUN, False),
    "clone.released": (clone.BEGUN, False),
    "clone.introduced": (clone.BEGUN, False),
}
"""Step -> how far the claw had come, and whether the next start goes on from the saved guest."""


@pytest.mark.parametrize("point", GOES_ON)
def test_a_start_that_is_killed_is_made_up_for_by_the_next_one(
    cloned: TemplateWorld, point: str
) -> None:
    cut(cloned, point)
    step, again = GOES_ON[point]
    assert cloned.step == step
    before = cloned.starts
    assert before == (0 if point == "clone.fresh" else 1)
    assert main(["start", "demo", *PATIENCE]) == 0
    assert (cloned.starts, cloned.alive) == (before + 1, 1), "one machine, and no orphan"
    assert cloned.goes_on is again
    assert cloned.step == (clone.DONE if again else "")
    assert status.of(cloned.paths).status == "ready"


@pytest.mark.parametrize("point", GOES_ON)
def test_ps_calls_a_guest_that_is_nobodys_neither_suspended_nor_ready(
    cloned: TemplateWorld, capsys: pytest.CaptureFixture[str], point: str
) -> None:
    cut(cloned, point)
    capsys.readouterr()
    assert main(["ps", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == ("stopped" if point == "clone.fresh" else "booting")
    assert (row["pid"] is None) is (point == "clone.fresh")
    assert main(["inspect", "demo"]) == 0


@pytest.mark.parametrize("point", GOES_ON)
def test_a_start_that_is_killed_can_be_stopped_and_the_disk_serves_as_before(
    cloned: TemplateWorld, point: str
) -> None:
    cut(cloned, point)
    assert main(["stop", "demo"]) == 0
    assert boot.current(cloned.paths) is None
    assert cloned.step == (clone.FRESH if GOES_ON[point][1] else "")
    assert main(["start", "demo", *PATIENCE]) == 0
    assert (cloned.alive, cloned.goes_on) == (1, GOES_ON[point][1])
    assert status.of(cloned.paths).status == "ready"


@pytest.mark.parametrize("point", GOES_ON)
def test_a_start_that_is_killed_leaves_a_claw_that_can_be_removed_and_its_template_too(
    cloned: TemplateWorld, point: str
) -> None:
    cut(cloned, point)
    assert main(["rm", "demo", "--yes"]) == 0
    if point != "clone.fresh":
        assert cloned.alive == 0
    template = cloned.home.template(store.keys(cloned.home)[0])
    prune.prune(cloned.home, dry_run=False)
    assert not template.root.exists()


@pytest.mark.parametrize("how", ["INT", "TERM"])
@pytest.mark.parametrize("point", ["clone.loaded", "clone.released"])
def test_a_start_that_is_interrupted_is_made_up_for_by_the_next_one(
    cloned: TemplateWorld, point: str, how: str
) -> None:
    cut(cloned, point, how)
    assert main(["start", "demo", *PATIENCE]) == 0
    assert cloned.alive == 1
    assert status.of(cloned.paths).status == "ready"


def test_plain_doit_makes_up_for_a_start_that_was_killed(cloned: TemplateWorld) -> None:
    cut(cloned, "clone.loaded")
    done = cloned.doit("ready:demo")
    assert done.returncode == 0, done.stderr
    assert (cloned.alive, cloned.goes_on, cloned.step) == (1, True, clone.DONE)


def test_the_template_is_in_use_from_the_moment_that_the_disk_is_described(
    cloned: TemplateWorld,
) -> None:
    cut(cloned, "clone.loaded")
    assert store.users(cloned.template) == [cloned.paths.root]
    assert fsutil.read_json(cloned.paths.disk_meta)["base"] == str(cloned.template.root)
