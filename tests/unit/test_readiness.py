"""How often a wait looks: late news and the looks' own cost, weighed."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from vclaw import fsutil, readiness
from vclaw.hypervisor.process import Process, start_mark
from vclaw.paths import ClawPaths
from vclaw.progress import Silent


@pytest.mark.parametrize("waited", [5.0, 30.0, 100.0])
def test_no_other_pause_between_looks_costs_less(waited: float) -> None:
    def cost(pause: float) -> float:
        return readiness.LOOK_SECONDS * waited / pause + pause / 2

    best = readiness.pause(waited)
    assert all(cost(best) <= cost(best * other) for other in (0.5, 0.9, 1.1, 2.0))


def test_looks_are_neither_at_once_nor_far_apart() -> None:
    assert readiness.pause(0.0) == readiness.LOOKS_APART[0]
    assert readiness.pause(3600.0) == readiness.LOOKS_APART[1]


def test_a_guest_that_answers_is_asked_less_and_less_often_until_its_next_step_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(readiness.time, "monotonic", lambda: clock[0])
    paths = ClawPaths(tmp_path / "demo")
    paths.root.mkdir()
    fsutil.write_json(paths.guest, {"generation": "g"})
    answers: list[dict[str, str] | None] = [None]
    monkeypatch.setattr(readiness, "guest_report", lambda _: answers[0])
    watch = readiness._Watch(paths, 1, Silent())
    alive = Process(os.getpid(), start_mark(os.getpid()), ())

    def next_pause(seconds: float) -> float:
        clock[0] += seconds
        watch.round(alive)
        return watch.pause()

    assert next_pause(60.0) == readiness.GUEST_SECONDS
    answers[0] = {"applied": ""}
    assert next_pause(0.1) == readiness.LOOKS_APART[0]
    assert next_pause(50.0) == pytest.approx(1.0)
    answers[0] = {"applied": "g"}
    assert next_pause(0.1) == readiness.LOOKS_APART[0]


def test_a_gateway_that_takes_seconds_for_its_answer_is_ready_when_it_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_late() -> None:
            connection, _ = server.accept()
            with connection:
                time.sleep(2.5)  # longer than a listing would wait
                body = b'{"ready": true}'
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body)

        late = threading.Thread(target=answer_late, daemon=True)
        late.start()
        seen = readiness.Observation(True, None, "g", server.getsockname()[1])
        assert readiness.CHECKS[-1].passed(seen)
        late.join(5)
