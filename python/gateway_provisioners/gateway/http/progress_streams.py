"""The open streams of progress of a gateway: a few for each user."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from gateway_provisioners.aio import Changes, within
from gateway_provisioners.errors import GatewayProvisionersError

MOST_STREAMS = 4


class TooManyStreams(GatewayProvisionersError):
    """A client follows the progress of as many kernels as it may."""

    reason = "TooManyStreams"
    http_status = 429


class ProgressStream:
    """One open stream, until its client or the gateway closes it."""

    def __init__(self) -> None:
        self._changes = Changes()
        self.is_closed = False

    def close(self) -> None:
        """End it soon."""
        self.is_closed = True
        self._changes.changed()

    def changed(self) -> None:
        """Look again whether there is something to send."""
        self._changes.changed()

    async def wait(self, seconds: float, is_due: Callable[[], bool]) -> None:
        """Return when something is due, when it is closed, or after some seconds."""
        due = self._changes.until(lambda: self.is_closed or is_due() or None)
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, due)


class ProgressStreams:
    """All open streams."""

    def __init__(self) -> None:
        self._open: dict[str, list[ProgressStream]] = {}
        self._changes = Changes()

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    @contextlib.contextmanager
    def open(self, client: str) -> Iterator[ProgressStream]:
        """Open a stream of a client until the block ends.

        Raises:
            TooManyStreams: it has as many as it may.
        """
        streams = self._open.setdefault(client, [])
        if len(streams) >= MOST_STREAMS:
            raise TooManyStreams(
                f"You follow the progress of {MOST_STREAMS} kernels, as many as you may at once; close one "
                "of these requests first."
            )
        stream = ProgressStream()
        streams.append(stream)
        try:
            yield stream
        finally:
            streams.remove(stream)
            if not streams:
                del self._open[client]
            self._changes.changed()

    async def close(self, seconds: float) -> None:
        """End all streams, since the gateway stops; returns when they have ended, or after some seconds."""
        for streams in self._open.values():
            for stream in streams:
                stream.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, self._changes.until(lambda: not self._open or None))
