"""The errors a user sees: one sentence that says what is wrong, one that says what to do."""


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
