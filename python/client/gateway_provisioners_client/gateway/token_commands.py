"""Run a command whose output is a token: without a shell, bounded in time and in size."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from gateway_provisioners_client.errors import CredentialError

# A command may have to ask an identity provider.
_SECONDS = 60.0
# Only on Windows, where a console would open.
_NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def output_of(command: Sequence[str], most: int, seconds: float = _SECONDS) -> bytes:
    """Return what a command prints; blocks until it has ended.

    Its input is empty, since no user could answer, and its messages are dropped: they may hold credentials.

    Args:
        command: the program, which is looked for in PATH, and its arguments.
        most: the bytes that it may print.

    Raises:
        CredentialError: it cannot be run, failed, printed too much or took too long.
    """
    name = command[0]
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=_NO_WINDOW,
            # A group of its own: what it starts ends with it. Windows has no such thing.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its arguments cannot be passed on"
        raise CredentialError(
            f"The command for the token, {name}, cannot be run: {reason}."
        ) from None
    is_late = threading.Event()

    def end_late() -> None:
        is_late.set()
        _end(process)

    timer = threading.Timer(seconds, end_late)
    timer.daemon = True
    timer.start()
    try:
        with process:
            output: bytes = process.stdout.read(most + 1) if process.stdout else b""
            if len(output) > most:
                _end(process)
    finally:
        timer.cancel()
    if is_late.is_set():
        raise CredentialError(
            f"The command for the token, {name}, did not end within {seconds:.0f} s."
        )
    if len(output) > most:
        raise CredentialError(f"The command for the token, {name}, printed more than {most} bytes.")
    if process.returncode:
        raise CredentialError(
            f"The command for the token, {name}, failed with exit code {process.returncode}. "
            "Run it in a terminal to see why: perhaps you have to log in again."
        )
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # it has just ended
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
