"""The requests that a session of the mailbox has sent: each reaches the kernel at most once.

A client that does not know whether a request has arrived sends it again, with the same id
(protocol/SPEC.md, "Requests that are sent again").
"""

from __future__ import annotations

import json

# Offered to the gateway. Without it on both sides, nothing is confirmed and nothing is dropped.
ACCEPTED = "accepted"
# The newest requests of a session whose ids are remembered: a client has no more of them unconfirmed.
MOST_REQUESTS = 1000
# Longer ids, in characters, are neither remembered nor confirmed. Jupyter's have some 40.
LONGEST_ID = 256
_MOST_FEATURES = 32


class AcceptedRequests:
    """The ids of the newest requests of one session."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}  # in the order in which they came

    def __bool__(self) -> bool:
        return bool(self._ids)

    def add(self, request: str) -> bool:
        """Remember a request; return False if the session has sent it before."""
        if request in self._ids:
            return False
        if len(self._ids) == MOST_REQUESTS:
            del self._ids[next(iter(self._ids))]
        self._ids[request] = None
        return True


class Confirmations:
    """The requests to be confirmed to each connection once a turn of the relay ends."""

    def __init__(self) -> None:
        self._ids: dict[bytes, list[str]] = {}

    def add(self, route: bytes, request: str) -> None:
        """Add a request that came on a connection."""
        self._ids.setdefault(route, []).append(request)

    def messages(self) -> list[tuple[bytes, list[bytes]]]:
        """Return the connections, each with the frames of the message for it."""
        return [
            (route, [ACCEPTED.encode(), json.dumps(ids).encode()])
            for route, ids in self._ids.items()
        ]


def is_offered(features: object) -> bool:
    """Return whether the features of a gateway, as it sent them, include this one."""
    return isinstance(features, list) and ACCEPTED in features[:_MOST_FEATURES]
