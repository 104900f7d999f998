"""Sockets for the kernel's channels, within the administrator's port range."""

from __future__ import annotations

import random
import socket

from kernel_launcher.errors import LAUNCH_FAILED, LaunchError

ANY_ADDRESS = "0.0.0.0"  # noqa: S104  the gateway reaches the kernel from another host


def bind(port_range: tuple[int, int]) -> socket.socket:
    """Bind a TCP socket to a free port.

    Args:
        port_range: lowest and highest port; (0, 0) for any port that the system chooses.

    Raises:
        LaunchError: no port of the range is free.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    lowest, highest = port_range
    size = highest - lowest + 1
    start = random.randrange(size)  # noqa: S311  spreads kernels that share a host; no secret
    for step in range(size):
        try:
            sock.bind((ANY_ADDRESS, lowest + (start + step) % size))
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
