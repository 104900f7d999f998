"""A cache of API objects, fed by one list and one watch.

The loop is: list, then watch from the list's version. When the server ends the stream, which it does
every few minutes, watch again from the last version seen; when the stream breaks, list again after a
pause, and so learn at once whether the API is back; when the version is too old (410), list again.
While the stream is broken the cache keeps what it knew: absence of news is no news of death.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.tasks.listeners import Listeners

Object = dict[str, Any]
# Called with (ADDED | MODIFIED | DELETED, object), on the event loop; must not block.
Listener = Callable[[str, Object], None]

_GONE = 410
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What a cache is filled from; `kube.api.Collection` is one."""

    async def list(self) -> tuple[list[Object], str]: ...

    def changes(self, resource_version: str) -> AsyncGenerator[tuple[str, Object], None]: ...


class ObjectCache:
    """The objects of one source by name, as of the last thing the API said.

    Args:
        name: what the objects are, for the log.
        source: where they come from.
        pause: waits that many seconds after a failure.
    """

    def __init__(self, name: str, source: Source, *, pause: Any = asyncio.sleep) -> None:
        self._name = name
        self._source = source
        self._pause = pause
        self._objects: dict[str, Object] = {}
        self._listeners: Listeners[str | None, Listener] = Listeners()
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._version = 0

    @property
    def objects(self) -> Mapping[str, Object]:
        """The objects by name; a live view."""
        return MappingProxyType(self._objects)

    @property
    def synced(self) -> bool:
        """Whether the objects have been listed at least once."""
        return self._synced.is_set()

    @property
    def fresh(self) -> bool:
        """Whether they have been listed and the stream of changes is not broken at present."""
        return self.synced and not self._failures

    def start(self) -> None:
        """Begin to follow the source, from the running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow_forever(), name=f"watch {self._name}")

    async def stop(self) -> None:
        """Stop following; the objects stay as they are."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def wait_synced(self) -> None:
        """Return once the objects have been listed."""
        await self._synced.wait()

    def subscribe(self, listener: Listener, *, name: str | None = None) -> Callable[[], None]:
        """Call `listener` on each change (of the object `name` only, where given).

        Returns:
            a function that ends the subscription.
        """
        return self._listeners.add(name, listener)

    def learn(self, item: Object) -> None:
        """Take in what the API answered about one object, unless the watch has come further."""
        if _version(item["metadata"]) > self._version:
            known = item["metadata"]["name"] in self._objects
            self._changed("MODIFIED" if known else "ADDED", item)

    async def _follow_forever(self) -> None:
        while True:
            try:
                version = await self._list()
                await self._watch_from(version)
            except ClusterError as error:
                await self._pause_after(error)

    async def _list(self) -> str:
        objects, version = await self._source.list()
        listed = {item["metadata"]["name"]: item for item in objects}
        for name in self._objects.keys() - listed.keys():
            self._changed("DELETED", self._objects[name])
        for item in listed.values():
            self._changed(
                "MODIFIED" if item["metadata"]["name"] in self._objects else "ADDED", item
            )
        self._version = int(version or 0)
        self._synced.set()
        self._failures = 0
        return version

    async def _watch_from(self, version: str) -> None:
        """Follow the changes after `version` until the stream breaks or the version is too old."""
        while True:
            try:
                async with contextlib.aclosing(self._source.changes(version)) as changes:
                    async for change, item in changes:
                        version = item["metadata"]["resourceVersion"]
                        self._version = _version(item["metadata"])
                        if change != "BOOKMARK" and not self._is_newer_known(item):
                            self._changed(change, item)
            except ClusterError as error:
                if error.status == _GONE:
                    return
                raise

    def _is_newer_known(self, item: Object) -> bool:
        """Whether `learn` was told what is still to come in the stream."""
        known = self._objects.get(item["metadata"]["name"])
        return known is not None and _version(known["metadata"]) > _version(item["metadata"])

    async def _pause_after(self, error: ClusterError) -> None:
        self._failures += 1
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10))
        _log.warning("watch of %s broke (%s); going on shortly", self._name, error)
        # Half of it at random, so that many gateways do not come back at the same moment.
        await self._pause(longest * (0.5 + random.random() / 2))  # noqa: S311 - no secret

    def _changed(self, change: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if change == "DELETED":
            self._objects.pop(name, None)
        else:
            self._objects[name] = item
        for listener in [*self._listeners.of(name), *self._listeners.of(None)]:
            listener(change, item)


def _version(metadata: Mapping[str, Any]) -> int:
    """The resource version: a number that grows with each change of any object of the kind (KEP-5504)."""
    return int(metadata["resourceVersion"])
