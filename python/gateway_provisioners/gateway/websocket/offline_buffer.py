"""A bounded buffer for the messages of a kernel whose client is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.losses import Losses
from gateway_provisioners.gateway.websocket.messages import is_output, message_parts

Message = tuple[str, list[bytes]]


class OfflineBuffer:
    """The messages of one kernel in their order; output is dropped first when they exceed the limit.

    Replaces the unbounded list of jupyter_server: one kernel that prints forever while its client is away
    would use up the memory of the gateway.

    Args:
        max_bytes: the limit of the messages' total size.

    Attributes:
        losses: the messages that were dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._output: deque[tuple[int, Message]] = deque()
        self._others: deque[tuple[int, Message]] = deque()
        self._count = 0
        self.losses = Losses()

    def append(self, message: Message) -> None:
        """Add a message: its channel and its parts; malformed ones are ignored."""
        channel, frames = message
        try:
            parts = message_parts(frames)
        except ProtocolError:
            return
        output = channel == "iopub" and is_output(parts)
        self._count += 1
        (self._output if output else self._others).append((self._count, message))
        self._bytes += _size(message)
        while self._bytes > self._max_bytes:
            _, (_, dropped) = (self._output or self._others).popleft()
            self._bytes -= sum(map(len, dropped))
            self.losses.add(message_parts(dropped)[1], sum(map(len, dropped)))

    def __iter__(self) -> Iterator[Message]:
        return (message for _, message in sorted([*self._output, *self._others]))

    def __len__(self) -> int:
        return len(self._output) + len(self._others)


def _size(message: Message) -> int:
    return sum(map(len, message[1]))
