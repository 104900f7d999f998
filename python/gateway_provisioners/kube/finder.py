"""Look-ups of kernels that the watch may not have reported yet: few requests, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from itertools import islice

from gateway_provisioners.aio import Sleep

# Clients may ask for any number of kernels that do not exist: this is how often the API is asked about them.
PAUSE_SECONDS = 0.1
# Ids in the selector of one request, whose URL may not be much longer.
MOST_TOGETHER = 100


class Finder:
    """Asks for several kernels in one request, and makes one request at a time.

    A look-up is never answered by a request that began before it: another gateway may have started the
    kernel in between.

    Args:
        ask: looks for kernels.
        pause: waits for a number of seconds, between requests.
    """

    def __init__(
        self, ask: Callable[[Collection[str]], Awaitable[None]], *, pause: Sleep = asyncio.sleep
    ) -> None:
        self._ask = ask
        self._pause = pause
        self._waiting: dict[str, asyncio.Future[Exception | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, kernel_id: str) -> None:
        """Return when a request about a kernel that began after this call has been answered.

        Raises:
            ClusterError: the API did not answer.
        """
        answer = self._waiting.get(kernel_id)
        if answer is None:
            answer = self._waiting[kernel_id] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask_for_all())
        if error := await asyncio.shield(answer):
            raise error

    async def stop(self) -> None:
        """Abandon all look-ups."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for answer in self._waiting.values():
            answer.cancel()

    async def _ask_for_all(self) -> None:
        while self._waiting:
            together = dict(islice(self._waiting.items(), MOST_TOGETHER))
            for kernel_id in together:
                del self._waiting[kernel_id]
            error: Exception | None = None
            try:
                await self._ask(together)
            except asyncio.CancelledError:
                for answer in together.values():
                    answer.cancel()
                raise
            except Exception as caught:  # noqa: BLE001 - raised where the look-up began
                error = caught
            for answer in together.values():
                answer.set_result(error)
            await self._pause(PAUSE_SECONDS)
