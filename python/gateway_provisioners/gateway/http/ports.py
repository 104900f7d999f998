"""The ports that the gateway's servers listen on."""

from __future__ import annotations

import errno
import logging
import socket

from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from gateway_provisioners.errors import ConfigurationError

_log = logging.getLogger(__name__)

# Every address of both families, of which the host may have only one.
ALL_ADDRESSES = "*"
# Connections that wait to be accepted.
_BACKLOG = 512
_LAST_PORT = 2**16 - 1


def listen(server: TCPServer, ip: str, port: int, remedy: str, retries: int = 0) -> int:
    """Listen on a port, or on one of the following ones if it is taken; return the port.

    Args:
        ip: ALL_ADDRESSES, or one address or name of this host.
        port: 0 for any that is free.
        remedy: the sentence about what to do when none can be used.
        retries: how many other ports to try.

    Raises:
        ConfigurationError: this host does not have the address, or none of the ports can be used.
    """
    reason = "there are no such ports"
    address = None if ip == ALL_ADDRESSES else ip
    last = min(port + retries, _LAST_PORT) if port else 0
    for candidate in range(port, last + 1):
        try:
            sockets = bind_sockets(candidate, address, backlog=_BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                problem = f"The gateway cannot listen on {ip}: {reason}."
                remedy = "Set KG_IP to an address of this host."
                break
            _log.info("Port %d cannot be used: %s", candidate, reason)
        else:
            server.add_sockets(sockets)
            return int(sockets[0].getsockname()[1])
    else:
        if last > port:
            tried = f"None of the ports {port} to {last} can be used"
        else:
            tried = f"Port {port} cannot be used"
        problem = f"{tried}: {reason}."
    raise ConfigurationError(f"{problem} {remedy}")
