"""IP addresses in the one form in which they can be compared: pure."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(text: str) -> Address:
    """Read an address, without the zone of a link-local one; an IPv4 address may be written as IPv6.

    Raises:
        ValueError: it is malformed.
    """
    ip = ipaddress.ip_address(text.partition("%")[0])
    return (ip.version == 6 and ip.ipv4_mapped) or ip
