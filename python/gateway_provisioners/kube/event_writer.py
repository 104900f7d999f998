"""Events that this process writes about its pods: in the background, a bounded number, and dispensable."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.model.objects import Object

_log = logging.getLogger(__name__)

# Of many starts at once, the oldest are dropped: each of them also logs its steps.
_MOST_DUE = 200


class EventWriter:
    """Writes one Event after the other; one that the API refuses is dropped.

    Args:
        create: creates an Event.
    """

    def __init__(self, create: Callable[[Object], Awaitable[object]]) -> None:
        self._create = create
        self._due: deque[Object] = deque(maxlen=_MOST_DUE)
        self._task: asyncio.Task[None] | None = None
        self._is_refused = False

    def write(self, event: Object) -> None:
        """Write an Event soon."""
        self._due.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="write events")

    async def stop(self) -> None:
        """Write no more."""
        self._due.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_all(self) -> None:
        while self._due:
            try:
                await self._create(self._due.popleft())
            except ClusterError as error:
                if not self._is_refused:
                    _log.warning("The progress of starts is not written as Events: %s", error)
                self._is_refused = True
            else:
                self._is_refused = False
