"""A cache of API objects, fed by one list and one watch.

The loop is: list, then watch from the list's version. When the server ends the stream, which it does
every few minutes, watch again from the last version seen; when the stream breaks, list again after a
pause, and so learn at once whether the API is back; when the version is too old (410), list again.
While the stream is broken the cache keeps its objects: silence does not mean that they are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Protocol

from gateway_provisioners.aio import Backoff, Listeners, Loop, Sleep
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.model.objects import Object

# Called with (ADDED | MODIFIED | DELETED, object), on the event loop; must not block.
Listener = Callable[[str, Object], None]

# With jitter, so that many gateways do not return at the same moment.
_BACKOFF = Backoff(0.2, 10, jitter=True)


class Source(Protocol):
    """The source that fills a cache, such as `kube.api.Collection`."""

    async def list(self) -> tuple[list[Object], str]: ...

    def changes(self, resource_version: str) -> AsyncGenerator[tuple[str, Object], None]: ...


class ObjectCache:
    """The objects of one source by name, as the API reported them last.

    Args:
        name: the kind of the objects, for the log.
        pause: waits for a number of seconds, after a failure.
    """

    def __init__(self, name: str, source: Source, *, pause: Sleep = asyncio.sleep) -> None:
        self._source = source
        self._objects: dict[str, Object] = {}
        self._listeners: Listeners[str | None, Listener] = Listeners()
        self._synced = asyncio.Event()
        self._loop = Loop(
            f"watch of {name}",
            self._list_and_watch,
            _BACKOFF,
            pause=pause,
            # API servers restart, and connections break; the next list mends what was missed.
            first_level=logging.INFO,
        )
        self._version = 0

    @property
    def objects(self) -> Mapping[str, Object]:
        """The objects by name; a live view."""
        return MappingProxyType(self._objects)

    @property
    def synced(self) -> bool:
        """True once the objects have been listed."""
        return self._synced.is_set()

    @property
    def fresh(self) -> bool:
        """True if they have been listed and the stream of changes is not broken at present."""
        return self.synced and not self._loop.failing

    def start(self) -> None:
        """Begin to follow the source, from the running event loop."""
        self._loop.start()

    async def stop(self) -> None:
        """Stop following; the objects stay as they are."""
        await self._loop.stop()

    async def wait_synced(self) -> None:
        """Return once the objects have been listed."""
        await self._loop.wait_until(self._synced)

    def subscribe(self, listener: Listener, *, name: str | None = None) -> Callable[[], None]:
        """Call `listener` on each change (of the object `name` only, where given).

        Returns:
            The function that ends the subscription.
        """
        return self._listeners.add(name, listener)

    def learn(self, item: Object) -> None:
        """Take an object from an answer of the API, unless the watch is ahead of it."""
        if _version(item) > self._version:
            self._put(item)

    async def _list_and_watch(self) -> None:
        version = await self._list()
        self._loop.succeeded()
        await self._watch_from(version)

    async def _list(self) -> str:
        objects, version = await self._source.list()
        listed = {item["metadata"]["name"]: item for item in objects}
        for name in self._objects.keys() - listed.keys():
            self._changed("DELETED", self._objects[name])
        for item in listed.values():
            self._put(item)
        self._version = int(version or 0)
        self._synced.set()
        return version

    async def _watch_from(self, version: str) -> None:
        """Follow the changes after `version`, until that is too old."""
        while True:
            try:
                async with contextlib.aclosing(self._source.changes(version)) as changes:
                    async for change, item in changes:
                        version = item["metadata"]["resourceVersion"]
                        self._version = _version(item)
                        if change != "BOOKMARK" and not self._is_newer_known(item):
                            self._changed(change, item)
            except ClusterError as error:
                if error.status == HTTPStatus.GONE:
                    return
                raise

    def _is_newer_known(self, item: Object) -> bool:
        """Return whether `learn` took a newer state, which is still to come in the stream."""
        known = self._objects.get(item["metadata"]["name"])
        return known is not None and _version(known) > _version(item)

    def _put(self, item: Object) -> None:
        self._changed("MODIFIED" if item["metadata"]["name"] in self._objects else "ADDED", item)

    def _changed(self, change: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if change == "DELETED":
            self._objects.pop(name, None)
        else:
            self._objects[name] = item
        for listener in [*self._listeners.of(name), *self._listeners.of(None)]:
            listener(change, item)


def _version(item: Object) -> int:
    """The resource version: a number that grows with each change of any object of the kind (KEP-5504)."""
    return int(item["metadata"]["resourceVersion"])
