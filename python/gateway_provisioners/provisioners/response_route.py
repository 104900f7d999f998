"""The address at which a kernel reaches this machine: the local end of this machine's route to it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from gateway_provisioners.errors import ConfigurationError

# Addresses that exist nowhere (RFC 5737, RFC 3849): the default route is the way to them.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")
_DISCARD_PORT = 9


async def local_address(hosts: Iterable[str]) -> str:
    """Return the address that this machine sends from to the first of the hosts that it has a route to.

    Args:
        hosts: addresses or names; the default route comes after them.

    Raises:
        ConfigurationError: this machine has a route to none of them.
    """
    for host in (*hosts, *_ANYWHERE):
        for family, address in await _resolved(host):
            if local := _local_end(family, address):
                return local
    raise ConfigurationError(
        "This machine has no address that kernels can report to: it has no route to them. Connect it to "
        "their network, or set GP_RESPONSE_IP to an address of this machine that they can reach."
    )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by an address or name that other machines have, too."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _resolved(host: str) -> Sequence[tuple[int, Any]]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, _DISCARD_PORT, type=socket.SOCK_DGRAM
        )
    except OSError:  # its name server cannot be reached either
        return ()
    return [(family, address) for family, _, _, _, address in found]


def _local_end(family: int, address: Any) -> str:
    """Return this machine's end of the route to an address; "" without one."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # connecting a datagram socket sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return ""
