"""The limit of what 0MQ holds of a kernel's messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.channels.frames import FrameCounter
from gateway_provisioners.gateway.process.limits import FREE_BYTES, LARGE_BYTES, Limits

# Heartbeats and the like, which no application takes: a kernel may send so many bytes a second uncounted.
_UNCOUNTED_PER_SECOND = 32
# What a frame costs 0MQ and Python besides its content: even empty ones fill the memory.
FRAME_BYTES = 128
# 0MQ reads into buffers of this size, and small frames keep the whole of theirs.
_BUFFER_BYTES = 8192
# More than a message may have, so that to take one keeps the event loop for a few milliseconds; and more
# than so many bytes hold of messages that mean something.
_MOST_FRAMES, _MOST_FRAMES_AT_ONCE = 12_000, 4_000


def _ignore(*_: object) -> None:
    pass


class Allowance:
    """A limit of what 0MQ may hold before the application has taken it.

    Args:
        cut: called when even the largest message is smaller than what has come.

    Attributes:
        outstanding: the number of bytes that 0MQ has and the application has not taken, with what their
            frames cost besides.
        on_free: called when more may be read again.
    """

    def __init__(
        self,
        limits: Limits,
        is_starved: Callable[[], bool],
        give_up: Callable[[], object],
        cut: Callable[[], object],
    ) -> None:
        largest = limits.messages.from_kernel + LARGE_BYTES
        # Each step beyond what is free is a share of a budget.
        self._steps = (
            (limits.buffers.share(give_up), LARGE_BYTES),
            (limits.large.share(give_up), largest),
        )
        self._is_starved = is_starved
        self._cut = cut
        self._granted = 0  # how many of the steps
        self._request: asyncio.Future[None] | None = None
        self._total = FREE_BYTES
        self.outstanding = 0.0
        self._buffers = 0.0  # what 0MQ's buffers cost besides
        self._frames = 0  # of what is outstanding
        self._earlier = 0.0  # what is outstanding of earlier connections
        self._counter = FrameCounter()
        self._loop = asyncio.get_running_loop()
        self._counted_at = self._loop.time()
        self.on_free: Callable[[], object] = _ignore

    def free(self) -> int:
        """Return how many bytes may be read now, after asking a budget for more if they are needed."""
        if self._earlier:
            self._settle()
        if self._frames > _MOST_FRAMES and self._is_starved():
            self._cut()
            return 0
        # One step may not be enough for what many small frames cost.
        while self._left < 1 and not self._request and self._is_starved():
            if self._granted == len(self._steps):
                self._cut()
                return 0
            share, size = self._steps[self._granted]
            self._request = share.take(size)
            if self._request.done():
                self._extend(self._request)
            else:
                self._request.add_done_callback(self._extend_later)
        return int(self._left)

    def seen(self, data: memoryview) -> None:
        """Count what 0MQ is about to be given; cut the connection if it cannot be counted."""
        now = self._loop.time()
        self._reduce((now - self._counted_at) * _UNCOUNTED_PER_SECOND)
        self._counted_at = now
        try:
            frames = self._counter.count(data)
        except ProtocolError:
            self._cut()
            return
        if frames > _MOST_FRAMES_AT_ONCE:
            self._cut()
            return
        self._frames += frames
        self.outstanding += len(data) + frames * FRAME_BYTES
        if frames:
            self._buffers += _BUFFER_BYTES
        for share, _ in self._steps[: self._granted]:
            share.progressed()

    def consumed(self, size: int, frames: int) -> None:
        """Count what the application has taken."""
        self._frames = max(self._frames - frames, 0)
        self._reduce(size)
        self._settle()
        self.on_free()

    def ended(self) -> None:
        """Note the end of the connection; whole messages of it stay with 0MQ."""
        self.on_free = _ignore
        self._counter = FrameCounter()
        self._earlier = self.outstanding
        self._settle()

    def close(self) -> None:
        """Give back what was granted."""
        self.on_free = _ignore
        self._is_starved = lambda: False
        self._request = None
        for share, _ in self._steps:
            share.close()

    @property
    def _left(self) -> float:
        return self._total - self.outstanding - self._buffers

    def _reduce(self, size: float) -> None:
        rest = max(self.outstanding - size, 0)
        self._earlier = max(self._earlier - size, 0)
        if not rest:
            self._buffers = self._frames = 0
        else:
            self._buffers *= rest / self.outstanding
        self.outstanding = rest

    def _settle(self) -> None:
        """Give back what is not needed any longer."""
        if self._earlier and self._is_starved():
            self._reduce(self._earlier)  # 0MQ drops the message that was not finished
        if self._request and self._left >= 1 and self._request.cancel():
            self._request = None
        while self._granted:
            share, step = self._steps[self._granted - 1]
            if self._left < step:
                break
            self._granted -= 1
            self._total -= step
            share.release(step)

    def _extend(self, granted: asyncio.Future[None]) -> None:
        if granted is self._request:
            self._request = None
            self._total += self._steps[self._granted][1]
            self._granted += 1

    def _extend_later(self, granted: asyncio.Future[None]) -> None:
        self._extend(granted)
        self.on_free()
