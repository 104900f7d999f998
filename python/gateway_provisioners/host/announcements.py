"""Tells the other gateways what they have to know of a kernel, in annotations of its pod."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from gateway_provisioners.errors import ClusterError

_NOT_FOUND = 404
_PAUSE_SECONDS = 5.0
# How long the last announcements may take.
_FINISH_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Announcements:
    """Writes in the background what `announce` is told: each value once, the newest of several.

    Args:
        annotate: sets annotations of a pod; None removes one.
    """

    def __init__(
        self, annotate: Callable[[str, Mapping[str, str | None]], Awaitable[None]]
    ) -> None:
        self._annotate = annotate
        self._due: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        self._written: dict[tuple[str, str], str | None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def announce(self, pod: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a pod soon, unless it has that value since the last time."""
        pending = self._due.get(pod, {})
        current = pending.get(annotation, self._written.get((pod, annotation)))
        if current == value:
            return
        self._due[pod][annotation] = value
        if pod not in self._tasks:
            self._tasks[pod] = asyncio.create_task(self._write(pod), name=f"annotate {pod}")

    async def finish(self) -> None:
        """Write what is due, within a bounded time."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks.values()), timeout=_FINISH_SECONDS)
            for task in late:
                task.cancel()

    async def _write(self, pod: str) -> None:
        try:
            while values := self._due.pop(pod, None):
                try:
                    await self._annotate(pod, values)
                except ClusterError as error:
                    if error.status == _NOT_FOUND:
                        self._forget(pod)
                        return
                    _log.info("pod %s cannot be annotated yet: %s", pod, error)
                    self._due[pod] = {**values, **self._due.get(pod, {})}
                    await asyncio.sleep(
                        _PAUSE_SECONDS
                    )  # no event tells that the API server is back
                else:
                    self._written.update({(pod, name): value for name, value in values.items()})
        finally:
            del self._tasks[pod]

    def _forget(self, pod: str) -> None:
        for key in [key for key in self._written if key[0] == pod]:
            del self._written[key]
