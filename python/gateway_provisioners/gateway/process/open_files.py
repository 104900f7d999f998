"""How many files and sockets this process may have."""

from __future__ import annotations

import resource

# libzmq's own upper bound (ZMQ_SOCKET_LIMIT); with it come slots of eight bytes each.
_ZMQ_SOCKET_LIMIT = 65535
# A connected 0MQ socket has an eventfd and a TCP socket; the rest is for HTTP and for the cluster's API.
_FILES_PER_ZMQ_SOCKET = 3


def raise_open_files() -> int:
    """Allow this process as many open files as its hard limit says; returns that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return most_open_files()


def most_open_files() -> int:
    """The limit in force."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def most_zmq_sockets() -> int:
    """As many 0MQ sockets as there can be files for."""
    return max(1023, min(_ZMQ_SOCKET_LIMIT, most_open_files() // _FILES_PER_ZMQ_SOCKET))
