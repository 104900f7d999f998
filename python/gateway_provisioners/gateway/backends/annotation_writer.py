"""Writes beside a kernel what other gateways, or the next one, have to know of it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from gateway_provisioners.errors import EngineError

_NOT_FOUND = 404
_PAUSE_SECONDS = 5.0
# How long the last announcements may take.
_FINISH_SECONDS = 2.0

_log = logging.getLogger(__name__)


class AnnotationWriter:
    """Writes in the background what `announce` is told: each value once, the newest of several.

    Args:
        annotate: sets annotations of a workload; None removes one.
    """

    def __init__(
        self, annotate: Callable[[str, Mapping[str, str | None]], Awaitable[None]]
    ) -> None:
        self._annotate = annotate
        self._due: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        self._written: dict[tuple[str, str], str | None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def announce(self, workload: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a workload soon, unless it has that value since the last time."""
        pending = self._due.get(workload, {})
        current = pending.get(annotation, self._written.get((workload, annotation)))
        if current == value:
            return
        self._due[workload][annotation] = value
        if workload not in self._tasks:
            self._tasks[workload] = asyncio.create_task(
                self._write(workload), name=f"annotate {workload}"
            )

    async def finish(self) -> None:
        """Write what is due, within a bounded time."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks.values()), timeout=_FINISH_SECONDS)
            for task in late:
                task.cancel()

    async def _write(self, workload: str) -> None:
        try:
            while values := self._due.pop(workload, None):
                try:
                    await self._annotate(workload, values)
                except EngineError as error:
                    if error.status == _NOT_FOUND:
                        self._forget(workload)
                        return
                    _log.info("%s cannot be annotated yet: %s", workload, error)
                    self._due[workload] = {**values, **self._due.get(workload, {})}
                    await asyncio.sleep(_PAUSE_SECONDS)  # no event tells that the engine is back
                else:
                    self._written.update(
                        {(workload, name): value for name, value in values.items()}
                    )
        finally:
            del self._tasks[workload]

    def _forget(self, workload: str) -> None:
        for key in [key for key in self._written if key[0] == workload]:
            del self._written[key]
