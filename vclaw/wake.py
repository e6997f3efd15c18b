"""A guest that goes on from a saved memory is told what it cannot know: the time, and randomness.

Two that go on from one memory would otherwise draw the same random numbers.
"""

from __future__ import annotations

import secrets
import time

from vclaw import boot, channel
from vclaw.paths import ClawPaths

ENTROPY_BYTES = 64

ANSWER_SECONDS = 60.0
"""What a guest is given for one answer; asked anew, it does its work anew. It needs less than a
second, emulated too, but where ten go on at once on two cores, a minute."""


def tell(paths: ClawPaths, op: str, deadline: float) -> None:
    """Ask the guest's agent for `op` (introduce or regain) until it has answered.

    `deadline` is a moment of time.monotonic(). Raises NoAnswer where none comes until then, or the
    guest's process has ended; VclawError where the agent could not do it.
    """
    while True:
        patience = max(0.01, min(ANSWER_SECONDS, deadline - time.monotonic()))
        entropy = secrets.token_hex(ENTROPY_BYTES)
        try:
            channel.ask(paths.channel, op, patience, time=time.time(), entropy=entropy)
            return
        except channel.NoAnswer:
            if time.monotonic() >= deadline or not boot.is_up(paths):
                raise
