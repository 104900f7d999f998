"""Bounds how fast credentials can be guessed, and how often the services that know them are asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cachetools import LRUCache

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import NotIdentified, TooManyAttempts
from gateway_provisioners.model.addresses import group_of

# So many wrong credentials of an address are checked at once: those of a room full of people whose token was
# changed, behind one proxy.
MOST_FAILURES = 20
# Then one in so many seconds: ten million a year, of the 2^128 that a token of 16 bytes may be.
SECONDS_FOR_EACH = 3.0
# Credentials of an address that are checked at the same time and may all turn out to be wrong.
MOST_CHECKS = 64
# A wrong credential that comes again within that time is not a guess: a forgotten tab sends it every few
# seconds, and must not lock out those who share its proxy.
SAME_SECONDS = 60.0
# Of each table. The oldest entry makes room: who has so many addresses cannot be bounded by address.
MOST_ADDRESSES = 4096
# All users who are active at the same time.
MOST_CREDENTIALS = 10_000


@dataclass
class _Address:
    """The state of one address: a bucket of failures that leaks, and the checks that are under way."""

    failures: float = 0.0
    counted_at: float = 0.0
    checks: int = 0


class Throttle:
    """Counts the wrong credentials of each address, and refuses more of them than it allows.

    Credentials that were accepted lately are let through from any address, so that a client that shares its
    address with an attacker goes on.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._addresses: LRUCache[str, _Address] = LRUCache(MOST_ADDRESSES)
        self._accepted: LRUCache[bytes, None] = LRUCache(MOST_CREDENTIALS)
        self._rejected: LRUCache[tuple[str, bytes], float] = LRUCache(MOST_ADDRESSES)

    @contextmanager
    def attempt(self, ip: str, credential: Credential) -> Iterator[None]:
        """Surround the check of a credential, which raises NotIdentified if it is wrong.

        Raises:
            TooManyAttempts: it must not be checked now.
        """
        group = group_of(ip)
        # Without a token it is a proxy that speaks for its users, known by its address.
        known_as = credential.digest if credential.token else group.encode()
        if known_as in self._accepted:
            try:
                yield
            except NotIdentified:
                self._accepted.pop(known_as, None)  # it was revoked, or has expired
                raise
            self._accepted[known_as] = None
            return
        address = self._admit(group)
        address.checks += 1
        try:
            yield
        except NotIdentified as error:
            if self._is_new(group, credential):
                address.failures += 1
                error.is_attempt = True
            raise
        else:
            self._accepted[known_as] = None
        finally:
            address.checks -= 1
            if not address.checks and not address.failures:
                self._addresses.pop(group, None)

    def _admit(self, group: str) -> _Address:
        now = self._now()
        address = self._addresses.get(group) or _Address(counted_at=now)
        leaked = (now - address.counted_at) / SECONDS_FOR_EACH
        address.failures = max(0.0, address.failures - leaked)
        address.counted_at = now
        self._addresses[group] = address
        excess = address.failures - (MOST_FAILURES - 1)
        if excess > 0:
            raise TooManyAttempts(math.ceil(excess * SECONDS_FOR_EACH))
        if address.checks >= MOST_CHECKS:
            raise TooManyAttempts(math.ceil(SECONDS_FOR_EACH))
        return address

    def _is_new(self, group: str, credential: Credential) -> bool:
        """Return whether a wrong credential is another one than those that have come lately."""
        if not credential.token:
            return True
        now = self._now()
        key = (group, credential.digest)
        seen_at = self._rejected.get(key)
        if seen_at is not None and now < seen_at + SAME_SECONDS:
            return False
        self._rejected[key] = now
        return True
