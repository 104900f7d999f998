"""Fairness between the addresses from which connections come that have shown no credential."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gateway_provisioners.model.addresses import group_of, plain_form, read_address

Connection = TypeVar("Connection")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
# The most addresses of X-Forwarded-For that are looked at: each costs time, and a client can send thousands.
_MAX_HOPS = 10


class Crowd(Generic[Connection]):
    """The connections that are still unknown; the address with most of them makes room for others.

    Args:
        drop: closes a connection.
        most: the number of connections.
    """

    def __init__(self, drop: Callable[[Connection], object], most: int = MAX_CONNECTIONS) -> None:
        self._drop = drop
        self._most = most
        self._addresses: dict[Connection, str] = {}  # oldest first
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def admit(self, connection: Connection, ip: str) -> None:
        """Add a connection, in place of the oldest one of the busiest address if there are too many."""
        if len(self._addresses) >= self._most:
            busiest = self._counts.most_common(1)[0][0]
            oldest = next(c for c, address in self._addresses.items() if address == busiest)
            self.leave(oldest)
            self._drop(oldest)
            _log.info("Dropped an unknown connection from %s to make room.", busiest)
        address = group_of(ip)
        self._addresses[connection] = address
        self._counts[address] += 1

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._addresses

    def move(self, connection: Connection, ip: str) -> None:
        """Note that a connection is another address': a proxy has named its client."""
        if self._addresses.get(connection) not in (None, group_of(ip)):
            self.leave(connection)
            self.admit(connection, ip)

    def leave(self, connection: Connection) -> None:
        """Remove a connection that has shown a credential, or has ended."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read networks in CIDR notation, or single addresses.

    Raises:
        ValueError: names the one that is malformed.
    """
    return tuple(ipaddress.ip_network(text) for text in texts)


def client_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the address of a client, which may come through proxies.

    Args:
        peer: the other end of the connection.
        forwarded: the values of X-Forwarded-For, to which each proxy adds the address that it sees.
        proxies: those whose word counts.
    """
    address = plain_form(peer)
    for candidate in reversed(",".join(forwarded).split(",")[-_MAX_HOPS:]):
        if not _is_in(address, proxies):
            break
        try:
            address = str(read_address(_without_port(candidate.strip())))
        except ValueError:
            break
    return address


def _without_port(candidate: str) -> str:
    """Remove the port and the brackets that some proxies add to an address."""
    found = re.fullmatch(r"\[([^]]{2,64})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}", candidate)
    return (found[1] or found[2]) if found else candidate


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = read_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)
