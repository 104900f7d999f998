"""A container network as the engine inspects it: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.model.addresses import Address

DEFAULT_NETWORK = "bridge"


def network_addresses(network: Mapping[str, Any]) -> Sequence[str]:
    """Return an address in each subnet of an inspected network: its gateway's, or else any.

    IPv4 comes first. Empty for a network without subnets, such as the host's.
    """
    configured = (network.get("IPAM") or {}).get("Config") or ()
    found = [address for each in configured if (address := _address(each)) is not None]
    return [str(address) for address in sorted(found, key=lambda address: address.version)]


def _address(subnet: Mapping[str, Any]) -> Address | None:
    try:
        if gateway := subnet.get("Gateway"):
            return ipaddress.ip_interface(str(gateway)).ip
        return next(ipaddress.ip_network(str(subnet.get("Subnet"))).hosts(), None)
    except ValueError:
        return None
