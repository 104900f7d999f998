"""Failures of a launch: one line for the user and an exit code for the gateway."""

from __future__ import annotations

# From sysexits.h, as in bootstrap-kernel.sh; the gateway shows the code and the line.
BAD_PARAMETER = 64
NO_RUNTIME = 69
LAUNCH_FAILED = 70
ENCRYPTION_IMPOSSIBLE = 78


class LaunchError(Exception):
    """The kernel cannot be started; the message is one line that gives the cause.

    Attributes:
        exit_code: the exit code of the launcher.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
