"""Checks the credential of an open websocket again, which may be open for days."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from gateway_provisioners.aio import call_later
from gateway_provisioners.gateway.identity.identity import (
    Identification,
    Identity,
    NotIdentified,
)

# A user who was removed, or whose token was revoked, is disconnected after at most this time.
CHECK_SECONDS = 300.0
# After a check that could not be made, and after one of a credential that has just expired: methods accept
# it a little longer, since clocks differ.
_AGAIN_SECONDS = 15.0
# The same difference, for a credential that cannot be checked when it expires.
_LEEWAY_SECONDS = 60.0
# Those of clients that connected at the same time, to a new gateway, are checked one after the other.
_EARLIEST = 0.5


class CredentialWatch:
    """Checks one client's credential until it is closed.

    Args:
        identity: what the credential showed at first.
        identify: looks at the credential again.
        changed: called with the identity when the user's groups or rights are others now.
        ended: called once when the credential is wrong, expired or revoked now, or is another user's.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(
        self,
        identity: Identity,
        identify: Callable[[], Awaitable[Identification]],
        *,
        changed: Callable[[Identity], object],
        ended: Callable[[], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._identify = identify
        self._changed = changed
        self._ended = ended
        self._clock = clock
        self._checking: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._begin_later(self._delay())

    def close(self) -> None:
        """Check no more."""
        self._timer.cancel()
        if self._checking is not None:
            self._checking.cancel()

    def _delay(self, most: float | None = None) -> float:
        """Return the seconds until the next check."""
        delay = random.uniform(_EARLIEST, 1) * (CHECK_SECONDS if most is None else most)  # noqa: S311
        expires_at = self._identity.expires_at
        if expires_at is None:
            return delay
        left = expires_at - self._clock()
        return min(delay, left if left > 0 else _AGAIN_SECONDS)

    def _begin_later(self, delay: float) -> None:
        self._timer = call_later(delay, self._begin)

    def _begin(self) -> None:
        self._checking = self._loop.create_task(self._check())

    async def _check(self) -> None:
        found = await self._identify()
        identity = found.identity
        if identity is None:
            if isinstance(found.error, NotIdentified) or self._has_expired():
                self._ended()
                return
            self._begin_later(self._delay(_AGAIN_SECONDS))
            return
        before, self._identity = self._identity, identity
        if identity.name != before.name:
            self._ended()
            return
        self._begin_later(self._delay())
        if identity != before:
            self._changed(identity)

    def _has_expired(self) -> bool:
        expires_at = self._identity.expires_at
        return expires_at is not None and self._clock() > expires_at + _LEEWAY_SECONDS
