"""The agent in a real claw, with a model server on the host: a turn, and a person's browser."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from tests.support import browser, model_server
from tests.support.claw import Claw
from tests.support.model_server import ModelServer
from vclaw import identity, llm
from vclaw.model import GATEWAY_GUEST_PORT

pytestmark = pytest.mark.vm

TURN_MINUTES = 60
"""For one turn in a busy emulated guest, whose first one loads most of OpenClaw."""

PATIENCE = f"--timeout-secs={TURN_MINUTES * 60 - 120}"


def test_a_turn_writes_a_file_into_the_hosts_workspace(
    claw: Claw, project: Path, model: ModelServer
) -> None:
    began = time.monotonic()
    text = f"made for {claw.name}"
    words = ("agent", claw.name, PATIENCE, f"please write turn.txt: {text}")
    done = claw.vclaw(*words, minutes=TURN_MINUTES)
    print(f"the turn took {time.monotonic() - began:.1f} s", file=sys.stderr)
    assert done.stdout == model_server.DONE + "\n"
    made = project / "turn.txt"
    assert made.read_text() == text + "\n"
    assert made.stat().st_uid == project.stat().st_uid
    assert len(model.requests) >= 2
    key = identity.load(claw.paths).env.get("FAKE_API_KEY", llm.NO_KEY)
    assert set(model.authorizations) == {f"Bearer {key}"}


@pytest.mark.full  # minutes more, for what a unit test says of the same JSON
def test_json_is_openclaws_whole_answer(claw: Claw) -> None:
    words = ("agent", claw.name, PATIENCE, "please say ibis", "--json")
    answer = json.loads(claw.vclaw(*words, minutes=TURN_MINUTES).stdout)
    assert answer["status"] == "ok"
    assert [item["text"] for item in answer["result"]["payloads"]] == [model_server.said("ibis")]


def test_the_printed_address_works_in_a_browser_on_another_port_than_the_guests(
    claw: Claw,
) -> None:
    assert claw.spec.gateway_port != GATEWAY_GUEST_PORT
    url = claw.vclaw("open", claw.name).stdout.strip()
    word = f"heron-{claw.spec.gateway_port}"
    seconds = TURN_MINUTES * 60.0
    browser.talk(url, f"please say {word}", model_server.said(word), "control-ui.png", seconds)


@pytest.mark.full  # another minute under emulation
def test_the_browser_is_not_let_in_from_a_foreign_origin(claw: Claw) -> None:
    """What the test before would show, did the guest not know the host's port."""
    url = f"http://claw.localhost:{claw.spec.gateway_port}/#token={claw.token}"
    with pytest.raises(AssertionError, match="in vain: the gateway lets the browser in"):
        browser.talk(url, "hello", "never", "control-ui-refused.png", 60)
