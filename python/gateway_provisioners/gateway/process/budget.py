"""Budgets of bytes that all connections of the process share: memory does not grow with their number."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# After so long without bytes for the first in the queue, a holder has to disconnect.
PRESSURE_SECONDS = 5.0


@dataclass(eq=False)
class _Waiter:
    share: Share
    size: int
    granted: asyncio.Future[None]


class Budget:
    """A number of bytes, given out in the order of the requests.

    Args:
        total: never exceeded by the sum of what is held.
        pressure_seconds: how long the first in the queue waits until the least active holder is asked to
            give up.
    """

    def __init__(self, total: int, pressure_seconds: float = PRESSURE_SECONDS) -> None:
        self.total = total
        self.held = 0
        self._pressure_seconds = pressure_seconds
        self._shares: set[Share] = set()
        self._waiters: deque[_Waiter] = deque()
        self._pressure: asyncio.TimerHandle | None = None

    def share(self, give_up: Callable[[], object]) -> Share:
        """Return a new holder's share, which is empty.

        Args:
            give_up: called when others have waited too long and this holder is the least active, or holds
                the most: it must close its share soon.
        """
        share = Share(self, give_up)
        self._shares.add(share)
        return share

    def _grant(self) -> None:
        """Give bytes to the waiters, in their order."""
        while self._waiters:
            first = self._waiters[0]
            if not first.granted.done():
                if self.held + first.size > self.total:
                    break
                first.share._add(first.size)
                first.granted.set_result(None)
            self._waiters.popleft()
            self._stop_pressure()
        if self._waiters and self._pressure is None:
            loop = asyncio.get_running_loop()
            self._pressure = loop.call_later(self._pressure_seconds, self._press)

    def _press(self) -> None:
        """Ask the largest holder to give up; one whose bytes have not moved for a while comes first."""
        self._pressure = None
        recently = asyncio.get_running_loop().time() - self._pressure_seconds
        holders = [share for share in self._shares if share.held]
        stuck = [share for share in holders if share.last_progress < recently]
        if holders:
            max(stuck or holders, key=lambda share: share.held).give_up()
        self._grant()

    def _stop_pressure(self) -> None:
        if self._pressure is not None:
            self._pressure.cancel()
            self._pressure = None


class Share:
    """The bytes that one holder has of a budget; made by `Budget.share`.

    Attributes:
        held: its bytes.
        last_progress: the loop's time when bytes of it last moved.
    """

    def __init__(self, budget: Budget, give_up: Callable[[], object]) -> None:
        self.held = 0
        self.give_up = give_up
        self.last_progress = 0.0
        self._budget = budget

    def is_free(self, size: int) -> bool:
        """Return whether so many bytes are free, and no holder waits for any."""
        return not self._budget._waiters and self._budget.held + size <= self._budget.total

    def try_take(self, size: int) -> bool:
        """Take bytes if they are free and no holder waits for any; return whether they were taken."""
        if not self.is_free(size):
            return False
        self._add(size)
        return True

    def take(self, size: int) -> asyncio.Future[None]:
        """Take bytes as soon as they are free; to cancel the future withdraws the request.

        Bytes that were granted are held, even if the task that waited was cancelled meanwhile.

        Raises:
            ValueError: the budget is smaller.
        """
        if size > self._budget.total:
            raise ValueError(f"{size} bytes are more than the budget of {self._budget.total}")
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._budget._waiters.append(_Waiter(self, size, granted))
        granted.add_done_callback(lambda done: self._budget._grant() if done.cancelled() else None)
        self._budget._grant()
        return granted

    def release(self, size: int) -> None:
        """Give bytes back, which counts as progress."""
        size = min(size, self.held)
        self.held -= size
        self._budget.held -= size
        self.progressed()
        self._budget._grant()

    def progressed(self) -> None:
        """Note that this holder's bytes move: others are asked to give up before it."""
        self.last_progress = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Give everything back, and withdraw all requests."""
        self._budget._shares.discard(self)
        for waiter in list(self._budget._waiters):
            if waiter.share is self:
                waiter.granted.cancel()
        self._budget.held -= self.held
        self.held = 0
        self._budget._grant()

    def _add(self, size: int) -> None:
        self.held += size
        self._budget.held += size
        self.progressed()
