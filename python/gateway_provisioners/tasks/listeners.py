"""Who is to be told of changes of what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Listener = TypeVar("Listener")


class Listeners(Generic[Key, Listener]):
    """Functions by what they want to hear of; whoever holds this calls them."""

    def __init__(self) -> None:
        self._listeners: dict[Key, list[Listener]] = {}

    def add(self, key: Key, listener: Listener) -> Callable[[], None]:
        """Keep a function; returns what ends that."""
        self._listeners.setdefault(key, []).append(listener)

        def remove() -> None:
            remaining = self._listeners.get(key, [])
            if listener in remaining:
                remaining.remove(listener)
            if not remaining:
                self._listeners.pop(key, None)

        return remove

    def of(self, key: Key) -> list[Listener]:
        """Those there are now: to go through while some of them remove themselves."""
        return list(self._listeners.get(key, ()))
