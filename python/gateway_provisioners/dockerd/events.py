"""One stream of an engine's events, for all kernels: list, then follow; when it breaks, list again.

While the stream is broken what is known stays known: absence of news is no news of death.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from gateway_provisioners.errors import EngineError

Object = dict[str, Any]
# Called with each event, on the event loop; must not block.
Listener = Callable[[Object], None]

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What events come from; `dockerd.api.DockerApi` is one."""

    async def clock(self) -> float: ...

    def events(self, since: float) -> AsyncGenerator[Object, None]: ...


class EventStream:
    """Follows a source from `start` to `stop`.

    Args:
        relist: asks the engine for the state of everything; called before each stream begins.
        pause: waits that many seconds after a failure.
    """

    def __init__(
        self,
        source: Source,
        *,
        relist: Callable[[], Awaitable[None]],
        listener: Listener,
        pause: Any = asyncio.sleep,
    ) -> None:
        self._source = source
        self._relist = relist
        self._listener = listener
        self._pause = pause
        self._synced = asyncio.Event()
        self._failures = 0
        self._streaming = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow; returns when everything has been listed.

        What is unforeseen is raised: nobody would list anything any more.
        """
        self._task = asyncio.create_task(self._follow_forever(), name="events of the Docker engine")
        synced = asyncio.create_task(self._synced.wait())
        try:
            await asyncio.wait({self._task, synced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            synced.cancel()
        if self._task.done():
            self._task.result()

    @property
    def fresh(self) -> bool:
        """Whether the stream is there, and everything was listed before it began."""
        return self._streaming and self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _follow_forever(self) -> None:
        while True:
            try:
                # The stream begins with what happened since before the list: nothing falls between.
                since = await self._source.clock()
                await self._relist()
                self._failures = 0
                self._synced.set()
                self._streaming = True
                async with contextlib.aclosing(self._source.events(since)) as events:
                    async for event in events:
                        self._listener(event)
            except EngineError as error:
                self._streaming = False
                self._failures += 1
                pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self._failures)
                _log.warning("the engine's stream of events broke (%s); going on shortly", error)
                await self._pause(pause)
