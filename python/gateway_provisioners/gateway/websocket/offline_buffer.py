"""What a kernel says while its client is away, up to a limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

Message = tuple[str, list[bytes]]


class OfflineBuffer:
    """Messages of one kernel in their order; the oldest go when there are too many.

    It stands in for the list that jupyter_server appends to without end: one kernel that prints for
    ever, and whose client is away, would take the memory of all.

    Args:
        most_bytes: how much the messages may add up to.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._messages: deque[Message] = deque()
        self.dropped = 0

    def append(self, message: Message) -> None:
        """Add (channel, parts of the message)."""
        self._messages.append(message)
        self._bytes += _size(message)
        while self._bytes > self._most_bytes:
            self._bytes -= _size(self._messages.popleft())
            self.dropped += 1

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def _size(message: Message) -> int:
    return sum(map(len, message[1]))
