"""Work that is cut off at one of its steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from vclaw import crashpoints


def killed_at(point: str, action: Callable[[], object]) -> None:
    """Do something in a process of its own, which is killed at a step."""
    pid = os.fork()
    if pid == 0:
        try:
            crashpoints._PLAN = f"{point}:1:KILL"
            action()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
