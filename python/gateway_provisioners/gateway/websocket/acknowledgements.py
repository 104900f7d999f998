"""The messages of a mailbox that have reached their client, and that the launcher need not keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# An acknowledgement for each message would cost as much as the message. Messages that were not
# acknowledged when the gateway was killed come twice.
_DELAY_SECONDS = 0.005
# A quarter of what a launcher sends without an acknowledgement.
_URGENT_BYTES = 512 * 1024


class Acknowledgements:
    """Acknowledges several messages at once.

    Args:
        send: sends the number of the newest message that has been delivered.

    Attributes:
        newest: its number.
    """

    def __init__(self, send: Callable[[int], object]) -> None:
        self.newest = 0
        self._send = send
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def received(self, size: int) -> None:
        """Count a message of the launcher."""
        self._bytes += size

    def delivered(self, number: int) -> None:
        """Acknowledge the messages up to this one, now or in a few milliseconds."""
        self.newest = max(self.newest, number)
        if self._timer is None:
            delay = 0 if self._bytes > _URGENT_BYTES else _DELAY_SECONDS
            self._timer = self._loop.call_later(delay, self._acknowledge)

    def flush(self) -> None:
        """Acknowledge now what is to be acknowledged."""
        if self._timer is not None:
            self._timer.cancel()
            self._acknowledge()

    def _acknowledge(self) -> None:
        self._timer = None
        self._bytes = 0
        self._send(self.newest)
