"""The errors a user sees: one sentence that says what is wrong, one that says what to do."""

from __future__ import annotations

import errno


class VclawError(Exception):
    """Something failed while running; the command exits with status 1.

    `message` says what is wrong, `hint` what to do about it. Raise it anywhere; only
    `vclaw.cli` prints it.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VclawError):
    """What the user asked for cannot be done; nothing was made; exits with status 2."""

    exit_status = 2


def of_system(error: OSError) -> VclawError:
    """What the operating system refused, as a VclawError."""
    where = f"{error.filename}: " if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = (
        "Free some disk space (`vclaw prune`, `vclaw rm CLAWID`), then run the command again."
        if full
        else ""
    )
    return VclawError(f"{where}{error.strerror or error}.", hint)
