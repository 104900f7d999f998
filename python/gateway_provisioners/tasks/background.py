"""Work that has to be done even where the engine does not answer at the moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway_provisioners.errors import EngineError

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Background:
    """Attempts, each of which is made again and again until the engine confirms it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Make `attempt` in the background until it raises no EngineError."""
        task = asyncio.create_task(_until_confirmed(what, attempt), name=what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what is under way, for a bounded time, and then give it up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LONGEST_PAUSE_SECONDS)
        for task in self._tasks:
            task.cancel()


async def _until_confirmed(what: str, attempt: Callable[[], Awaitable[None]]) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await attempt()
        except EngineError as error:
            _log.warning("cannot %s yet: %s", what, error)
            await asyncio.sleep(pause)  # a pause between tries; no event tells of success
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return
