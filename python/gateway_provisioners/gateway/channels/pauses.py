"""The pauses before connections to a port."""

from __future__ import annotations

from collections.abc import Callable

# In between, each pause is twice the previous one. A connection that lasts so long is followed by the next at
# once.
_SHORTEST_SECONDS, LONGEST_SECONDS = 0.02, 1.0
_STEADY_SECONDS = 10.0


class Pauses:
    """The pauses before connections to a port: ever longer after those that were refused, or were short.

    Args:
        now: the clock.

    Attributes:
        after_refused, after_short: the newest pauses; the longer one counts.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.after_refused = 0.0
        self.after_short = 0.0
        self._now = now
        self._connected_at = now() - _STEADY_SECONDS
        self._is_connected = True

    def connected(self) -> None:
        """Note that the port could be reached."""
        self._is_connected = True
        self._connected_at = self._now()
        self.after_refused = 0.0

    def next(self) -> float:
        """Return the pause before another connection, after the last one has ended."""
        if not self._is_connected:
            self.after_refused = _longer(self.after_refused)
        elif self._now() < self._connected_at + _STEADY_SECONDS:
            self.after_short = _longer(self.after_short)
        else:
            self.after_short = 0.0
        self._is_connected = False
        return max(self.after_refused, self.after_short)


def _longer(pause: float) -> float:
    return min(max(2 * pause, _SHORTEST_SECONDS), LONGEST_SECONDS)
