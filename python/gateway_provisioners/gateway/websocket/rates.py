"""A limit on the rate of a kernel's output, for administrators who want one."""

from __future__ import annotations

import time
from collections.abc import Callable

# How long output may come at any rate.
_BURST_SECONDS = 3


class OutputRate:
    """Counts a kernel's output to one client.

    Args:
        bytes_per_second, messages_per_second: the limits; 0: none.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        bytes_per_second: float,
        messages_per_second: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = [
            _Bucket(rate, now()) if rate else None
            for rate in (bytes_per_second, messages_per_second)
        ]
        self._now = now

    @property
    def is_limited(self) -> bool:
        return any(bucket is not None for bucket in self._buckets)

    def exceeded(self, size: int) -> bool:
        """Count an output of that size; return whether it is too much now, and so not counted."""
        now = self._now()
        pairs = [(b, n) for b, n in zip(self._buckets, (size, 1), strict=True) if b is not None]
        rooms = [bucket.has_room(now) for bucket, _ in pairs]  # each of them drains
        if not all(rooms):
            return True
        for bucket, amount in pairs:
            bucket.level += amount
        return False

    def reset(self) -> None:
        """Begin anew, as at the end of a cell."""
        for bucket in filter(None, self._buckets):
            bucket.level = 0


class _Bucket:
    """An amount that drains at a rate."""

    def __init__(self, rate: float, now: float) -> None:
        self.level = 0.0
        self._rate = rate
        self._drained_at = now

    def has_room(self, now: float) -> bool:
        self.level = max(self.level - (now - self._drained_at) * self._rate, 0)
        self._drained_at = now
        return self.level < self._rate * _BURST_SECONDS
