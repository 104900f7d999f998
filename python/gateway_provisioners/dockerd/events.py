"""One stream of an engine's events, for all kernels: list, then follow; when it breaks, list again.

While the stream is broken the known states stay: silence does not mean that kernels are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from gateway_provisioners.aio import Backoff, Loop, Sleep
from gateway_provisioners.model.objects import Object

# Called with each event, on the event loop; must not block.
Listener = Callable[[Object], None]


class Source(Protocol):
    """The source of events, such as `dockerd.api.DockerApi`."""

    async def clock(self) -> float: ...

    def events(self, since: float) -> AsyncGenerator[Object, None]: ...


class EventStream:
    """Follows a source from `start` to `stop`.

    Args:
        relist: asks the engine for the state of all kernels; called before each stream begins.
        pause: waits for a number of seconds, after a failure.
    """

    def __init__(
        self,
        source: Source,
        *,
        relist: Callable[[], Awaitable[None]],
        listener: Listener,
        pause: Sleep = asyncio.sleep,
    ) -> None:
        self._source = source
        self._relist = relist
        self._listener = listener
        self._loop = Loop(
            "stream of the engine's events", self._list_and_follow, Backoff(0.2, 10), pause=pause
        )
        self._synced = asyncio.Event()
        self._streaming = False

    async def start(self) -> None:
        """Begin to follow; returns when all kernels have been listed."""
        self._loop.start()
        await self._loop.wait_until(self._synced)

    @property
    def fresh(self) -> bool:
        """True if the stream is open, and all kernels were listed before it began."""
        return self._streaming and self._loop.running

    async def stop(self) -> None:
        """Stop following."""
        await self._loop.stop()

    async def _list_and_follow(self) -> None:
        try:
            # The stream begins before the list, so that no event is lost between them.
            since = await self._source.clock()
            await self._relist()
            self._loop.succeeded()
            self._synced.set()
            self._streaming = True
            async with contextlib.aclosing(self._source.events(since)) as events:
                async for event in events:
                    self._listener(event)
        finally:
            self._streaming = False
