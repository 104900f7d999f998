"""The sessions of a server's clients, also of those that are away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gateway_provisioners_client.server.relay import Relay

# What clients that are away have not read is kept in memory: the oldest goes first.
_MOST_AWAY = 256
_MOST_AWAY_BYTES = 64 * 1024 * 1024


class Relays:
    """The relays by kernel and session."""

    def __init__(self) -> None:
        self._relays: OrderedDict[tuple[str, str], Relay] = OrderedDict()

    def take(self, kernel_id: str, session_id: str) -> Relay:
        """Return the relay of a session, which may be a new one."""
        key = (kernel_id, session_id)
        relay = self._relays.get(key)
        if relay is None:
            relay = self._relays[key] = Relay(key, self._ended)
        self._relays.move_to_end(key)
        return relay

    def __len__(self) -> int:
        return len(self._relays)

    async def close(self) -> None:
        """End all connections to the gateway."""
        relays = list(self._relays.values())
        self._relays.clear()
        await asyncio.gather(*(relay.close() for relay in relays))

    def _ended(self, ended: Relay) -> None:
        if not ended.is_idle:
            return
        if not ended.unread_bytes:
            self._relays.pop(ended.key, None)
        away = [relay for relay in self._relays.values() if relay.is_idle]
        size = sum(relay.unread_bytes for relay in away)
        for number, relay in enumerate(away):
            if len(away) - number <= _MOST_AWAY and size <= _MOST_AWAY_BYTES:
                return
            size -= relay.unread_bytes
            self._relays.pop(relay.key, None)
