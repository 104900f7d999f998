"""The steps of a start as lines in the output of the first cell that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway_provisioners_client.gateway.progress import ProgressStep

# A kernel that is up so soon needs no words, which would be saved with the notebook.
_QUIET_SECONDS = 2.0
_REPEAT_SECONDS = 30.0
_SHOWN_SECONDS = 5.0


class ProgressLines:
    """Shows steps, each in one line, and one that takes long again with its age.

    Args:
        say: called with the header of the first cell and a line.
        host: of the gateway, for a start of which no steps are known.
    """

    def __init__(self, say: Callable[[bytes, str], None], host: str) -> None:
        self._say = say
        self._host = host
        self._began = time.monotonic()
        self._cell = b""
        self._step: ProgressStep | None = None
        self._shown = ""
        self._shown_at = 0.0
        self._is_loud = False
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(_QUIET_SECONDS, self._begin)

    def cell(self, header: bytes) -> None:
        """Show them in this cell, if it is the first."""
        if not self._cell:
            self._cell = header
            self._show()

    def step(self, step: ProgressStep) -> None:
        """Take the present step."""
        if not (step.ready or step.failed):
            self._step = step
            self._show()

    def end(self, *, is_up: bool) -> None:
        """Show no more steps."""
        if self._timer is not None:
            self._timer.cancel()
        if is_up and self._shown:
            seconds = time.monotonic() - self._began
            self._say(self._cell, f"The kernel is up after {seconds:.0f} s.\n")
        self._is_loud = False

    def _begin(self) -> None:
        self._is_loud = True
        self._show()

    def _show(self) -> None:
        if not self._is_loud or not self._cell:
            return
        step = self._step
        message = step.message if step else f"The kernel is starting at {self._host}."
        now = time.monotonic()
        if message == self._shown and now - self._shown_at < _REPEAT_SECONDS:
            return
        seconds = (step.seconds if step else None) or 0
        age = f" ({seconds:.0f} s)" if seconds >= _SHOWN_SECONDS else ""
        self._shown, self._shown_at = message, now
        self._say(self._cell, f"{message}{age}\n")
