"""The state of a connection, as its users see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """Of a connection."""

    CONNECTED = "connected"
    LOST = "lost"  # and being made again
    GONE = "gone"  # for good: the kernel does not exist any longer


@dataclass(frozen=True)
class ConnectionState:
    """A change of a connection.

    Attributes:
        phase: that begins now.
        reason: a sentence for the user; "" while connected.
        seconds: since the connection was lost; 0 at the first.
    """

    phase: Phase
    reason: str = ""
    seconds: float = 0.0
