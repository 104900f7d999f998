"""Limits of the files and sockets that this process may have open."""

from __future__ import annotations

import resource

# libzmq's own upper bound (ZMQ_SOCKET_LIMIT); it allocates eight bytes for each socket.
_ZMQ_SOCKET_LIMIT = 65535
# A connected 0MQ socket has an eventfd and a TCP socket; the rest is for HTTP and for the cluster's API.
_FILES_PER_ZMQ_SOCKET = 3


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard limit; return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _max_open_files()


def _max_open_files() -> int:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def max_zmq_sockets() -> int:
    """Return the number of 0MQ sockets that the limit of open files is enough for."""
    return max(1023, min(_ZMQ_SOCKET_LIMIT, _max_open_files() // _FILES_PER_ZMQ_SOCKET))
