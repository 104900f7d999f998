"""Waiting for something, but not for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """What `awaitable` gives, if it does so in time.

    Unlike asyncio.wait_for before Python 3.12 it is cancelled for sure when it is told to: that one
    forgets it where the result comes at the same moment, and what loops around it never ends.

    Raises:
        asyncio.TimeoutError: it did not; it is cancelled.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
