"""IP addresses in the one form in which they can be compared: pure."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# One customer of a provider has at least so many addresses (RFC 6177).
_IPV6_PREFIX = 64


def read_address(text: str) -> Address:
    """Read an address, without the zone of a link-local one; an IPv4 address may be written as IPv6.

    Raises:
        ValueError: it is malformed.
    """
    ip = ipaddress.ip_address(text.partition("%")[0])
    return (ip.version == 6 and ip.ipv4_mapped) or ip


def in_url(ip: str) -> str:
    """Return an address as URLs and `host:port` have it: one of IPv6 in brackets."""
    return f"[{ip}]" if ":" in ip else ip


def plain_form(text: str) -> str:
    """Return an address as logs and comparisons have it; a text that is not an address as it is."""
    try:
        return str(read_address(text))
    except ValueError:
        return text


def group_of(text: str) -> str:
    """Return what stands for all addresses of the same client: its IPv4 address, or its IPv6 network.

    A text that is not an address is returned as it is.
    """
    try:
        ip = read_address(text)
    except ValueError:
        return text
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
