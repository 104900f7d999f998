"""The local clients that wait for replies, by the ids of their requests."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 10_000
_LONGEST_ID = 256


class Identities:
    """0MQ identities by the id of a request, the latest ones."""

    def __init__(self) -> None:
        self._identities: OrderedDict[str, list[bytes]] = OrderedDict()

    def note(self, msg_id: str, identities: list[bytes]) -> None:
        """Remember who sent a request."""
        if not msg_id or len(msg_id) > _LONGEST_ID:
            return
        self._identities[msg_id] = identities
        self._identities.move_to_end(msg_id)
        if len(self._identities) > _MOST:
            self._identities.popitem(last=False)

    def of(self, msg_id: str) -> list[bytes] | None:
        """Return who sent a request; None if that is not known."""
        return self._identities.get(msg_id)
