"""Waiting for what changes of something else bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Wakes whoever waits for a reading of something that `changed` says has changed."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Event] = set()

    def changed(self) -> None:
        """Have every reading taken again."""
        for waiter in self._waiters:
            waiter.set()

    async def until(self, reading: Callable[[], T | None]) -> T:
        """The first value other than None that `reading` gives, now or after a change."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while (value := reading()) is None:
                await changed.wait()
                changed.clear()
            return value
        finally:
            self._waiters.discard(changed)
