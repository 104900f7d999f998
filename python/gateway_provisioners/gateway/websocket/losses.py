"""The output that was dropped, by the cell that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.gateway.websocket.requests import short_header
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

# More cells at once are counted with the last one.
_MOST_CELLS = 32


@dataclass
class _Loss:
    parent: Mapping[str, Any]
    messages: int = 0
    size: int = 0


class Losses:
    """Counts dropped messages until the client can be informed."""

    def __init__(self) -> None:
        self._by_cell: dict[str, _Loss] = {}

    def __bool__(self) -> bool:
        return bool(self._by_cell)

    @property
    def messages(self) -> int:
        """The number of messages."""
        return sum(loss.messages for loss in self._by_cell.values())

    def add(self, parent_header: Part, size: int) -> None:
        """Count a message with this parent header."""
        parent = short_header(parsed_header(parent_header))
        cell = str(parent.get("msg_id", ""))
        if cell not in self._by_cell and len(self._by_cell) == _MOST_CELLS:
            cell = next(reversed(self._by_cell))
        loss = self._by_cell.setdefault(cell, _Loss(parent))
        loss.messages += 1
        loss.size += size

    def report(self, say: Callable[[str, Mapping[str, Any]], object], reason: str) -> None:
        """Inform the client in each cell, and forget the losses.

        Args:
            say: gets a sentence and the parent header.
            reason: the rest of a sentence such as: 3 messages are lost: ...
        """
        losses, self._by_cell = self._by_cell, {}
        for loss in losses.values():
            noun = "message" if loss.messages == 1 else "messages"
            say(
                f"{loss.messages} {noun} of this cell ({megabytes(loss.size)}) were dropped: {reason}",
                loss.parent,
            )


def megabytes(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 2**20:.1f} MiB"
