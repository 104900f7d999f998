"""The writer of kernels' annotations, which other gateways or the next one read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from gateway_provisioners.aio import Backoff, KeyedWorker
from gateway_provisioners.errors import EngineError

_BACKOFF = Backoff(5, 5)
# How long the last announcements may take.
_FINISH_SECONDS = 2.0


class AnnotationWriter:
    """Writes announced values in the background: each value once, the newest of several.

    Args:
        annotate: sets annotations of a workload; None removes one.
    """

    def __init__(
        self, annotate: Callable[[str, Mapping[str, str | None]], Awaitable[None]]
    ) -> None:
        self._annotate = annotate
        self._due: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        self._written: dict[tuple[str, str], str | None] = {}
        self._writes = KeyedWorker("annotate", self._write, _BACKOFF)

    def announce(self, workload: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a workload soon, unless it has this value already."""
        pending = self._due.get(workload, {})
        current = pending.get(annotation, self._written.get((workload, annotation)))
        if current == value:
            return
        self._due[workload][annotation] = value
        self._writes.add(workload)

    async def finish(self) -> None:
        """Write what is due, within a bounded time."""
        await self._writes.finish(_FINISH_SECONDS)

    async def _write(self, workload: str) -> None:
        values = self._due.pop(workload, {})
        try:
            await self._annotate(workload, values)
        except EngineError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                self._forget(workload)
                return
            self._due[workload] = {**values, **self._due.get(workload, {})}
            raise
        self._written.update({(workload, name): value for name, value in values.items()})

    def _forget(self, workload: str) -> None:
        for key in [key for key in self._written if key[0] == workload]:
            del self._written[key]
