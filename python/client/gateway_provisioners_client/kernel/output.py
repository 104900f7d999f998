"""The terminal or pipe of the client, which this program inherits; its readers wait until all close it."""

from __future__ import annotations

import contextlib
import os

_STDOUT, _STDERR = 1, 2


def release_stdout() -> None:
    """Let go of it at once: nothing is written there."""
    _release(_STDOUT)


def release_stderr() -> None:
    """Let go of it at the end, which may take seconds; until then it shows errors in this program."""
    _release(_STDERR)


def _release(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, descriptor)
        finally:
            os.close(nothing)
