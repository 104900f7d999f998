"""A bounded buffer for the messages of a kernel whose client is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

Message = tuple[str, list[bytes]]


class OfflineBuffer:
    """The messages of one kernel in their order; the oldest are dropped when they exceed the limit.

    Replaces the unbounded list of jupyter_server: one kernel that prints forever while its client is away
    would use up the memory of the gateway.

    Args:
        max_bytes: the limit of the messages' total size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._messages: deque[Message] = deque()
        self.dropped = 0

    def append(self, message: Message) -> None:
        """Add a message: its channel and its parts."""
        self._messages.append(message)
        self._bytes += _size(message)
        while self._bytes > self._max_bytes:
            self._bytes -= _size(self._messages.popleft())
            self.dropped += 1

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def _size(message: Message) -> int:
    return sum(map(len, message[1]))
