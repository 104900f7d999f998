"""Sockets for the kernel's channels, within the administrator's port range."""

from __future__ import annotations

import random
import socket

from kernel_launcher.errors import LAUNCH_FAILED, LaunchError

# The gateway reaches the kernel from another host.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
# Where the system has IPv6. Sockets that are bound to it take IPv4 as well.
ANY_ADDRESS_OF_BOTH = "::"


def bind(port_range: tuple[int, int]) -> socket.socket:
    """Bind a TCP socket to a free port, on all addresses: of both families where the system has IPv6.

    Args:
        port_range: lowest and highest port; (0, 0) for any port that the system chooses.

    Raises:
        LaunchError: no port of the range is free.
    """
    dual = socket.has_dualstack_ipv6()
    sock = socket.socket(socket.AF_INET6 if dual else socket.AF_INET, socket.SOCK_STREAM)
    if dual:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    any_address = ANY_ADDRESS_OF_BOTH if dual else ANY_ADDRESS
    lowest, highest = port_range
    size = highest - lowest + 1
    start = random.randrange(size)  # noqa: S311  spreads kernels that share a host; no secret
    for step in range(size):
        try:
            sock.bind((any_address, lowest + (start + step) % size))
        except OSError:
            continue
        return sock
    sock.close()
    raise LaunchError(LAUNCH_FAILED, f"no free port within {lowest}..{highest}")


def reserve(port_range: tuple[int, int], count: int) -> list[socket.socket]:
    """Bind sockets that hold ports until the kernel itself listens on them.

    The kernel binds beside the reservation, which is possible on Linux because both sockets have
    SO_REUSEADDR and this one never listens. It is set after binding: if it were set before, bind()
    would accept ports that another launcher has reserved in the same way.
    """
    reserved = []
    for _ in range(count):
        sock = bind(port_range)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.append(sock)
    return reserved
