"""A connection between 0MQ and a kernel's port, and the pumps that move its bytes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from gateway_provisioners.gateway.channels.allowance import Allowance
from gateway_provisioners.gateway.process.limits import FREE_BYTES

# The pumps of all connections read into the same memory, one after the other.
_SCRATCH = memoryview(bytearray(FREE_BYTES))
# TCP would let its own buffer grow to several MiB, which count as memory of the gateway's container.
_RECEIVE_BUFFER_BYTES = 256 * 1024
# A kernel's node that is lost is noticed after 30 seconds. 0MQ's heartbeats would also end connections that
# are not read for a while.
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 4,
}
# How long a connection that was closed may take to send its last messages.
_LAST_SECONDS = 2.0


def _ignore(*_: object) -> None:
    pass


class Link:
    """One connection between 0MQ and the kernel.

    Args:
        left: called with the number of bytes that left for the kernel.
        connected: called when the kernel's port was reached.
        ended: called when 0MQ has closed its side.
        closed: called once both sides are closed, by any of the three.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ours: socket.socket,
        kernels: socket.socket,
        allowance: Allowance,
        left: Callable[[int], object],
        connected: Callable[[], object],
        ended: Callable[[], object],
        closed: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._report_connected = connected
        self._report_end = ended
        self._report_closed = closed
        self._sockets = ours, kernels
        self._allowance = allowance
        self._from_kernel = _Pump(loop, kernels, ours, self.close, self._ended_by_0mq)
        self._to_kernel = _Pump(loop, ours, kernels, self._ended_by_0mq, self.close)
        self._from_kernel.may_read = allowance.free
        self._from_kernel.seen = allowance.seen
        self._to_kernel.moved = left
        allowance.on_free = self._from_kernel.start
        self._is_connected = False
        self._last_chance: asyncio.TimerHandle | None = None
        loop.add_writer(kernels.fileno(), self._connected)

    @property
    def is_open(self) -> bool:
        return self._sockets[0].fileno() != -1

    @property
    def blocked(self) -> bool:
        """True while the kernel takes nothing, and before the connection is made."""
        return not self._is_connected or self._to_kernel.blocked

    def read_on(self) -> None:
        self._from_kernel.start()

    def finish(self) -> None:
        """Close the connection when 0MQ has closed its side, but soon."""
        self._from_kernel.stop()
        self._from_kernel.may_read = lambda: 0
        if self._last_chance is None and self._sockets[0].fileno() != -1:
            self._last_chance = self._loop.call_later(_LAST_SECONDS, self.close)

    def close(self) -> None:
        """Close both sides."""
        if self._last_chance is not None:
            self._last_chance.cancel()
        if not self.is_open:
            return
        self._from_kernel.stop()
        self._to_kernel.stop()
        self._allowance.ended()
        for sock in self._sockets:
            self._loop.remove_writer(sock.fileno())  # it may still be connecting
            sock.close()
        self._report_closed()

    def _ended_by_0mq(self) -> None:
        is_finished = self._last_chance is not None
        self.close()
        if not is_finished:
            self._report_end()

    def _connected(self) -> None:
        kernels = self._sockets[1]
        self._loop.remove_writer(kernels.fileno())
        if kernels.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            return
        self._is_connected = True
        self._report_connected()
        self._from_kernel.start()
        self._to_kernel.start()


class _Pump:
    """Moves bytes from one socket to another while `may_read` is positive.

    Attributes:
        may_read: returns the most bytes to read now.
        seen: called with what was read, before it is moved.
        moved: called with the number of bytes that the other socket took.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        target: socket.socket,
        source_ended: Callable[[], object],
        target_ended: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._source = source
        self._target = target
        self._source_ended = source_ended
        self._target_ended = target_ended
        self._rest = b""
        self._reading = False
        self.may_read: Callable[[], int] = lambda: len(_SCRATCH)
        self.seen: Callable[[memoryview], object] = _ignore
        self.moved: Callable[[int], object] = _ignore

    @property
    def blocked(self) -> bool:
        """True while the other socket takes nothing."""
        return bool(self._rest)

    def start(self) -> None:
        """Read on, unless the other socket has to take the rest first."""
        if (
            not self._reading
            and not self._rest
            and self._source.fileno() != -1
            and self.may_read() > 0
        ):
            self._reading = True
            self._loop.add_reader(self._source.fileno(), self._read)

    def stop(self) -> None:
        """Move nothing more; the rest is lost."""
        self._pause()
        if self._rest and self._target.fileno() != -1:
            self._loop.remove_writer(self._target.fileno())
        self._rest = b""

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source.fileno())

    def _read(self) -> None:
        most = self.may_read()
        if most <= 0:
            self._pause()
            return
        try:
            size = self._source.recv_into(_SCRATCH[:most])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._source_ended()
            return
        self.seen(_SCRATCH[:size])
        if self._source.fileno() == -1:  # it was cut because of what came
            return
        self._write(_SCRATCH[:size])

    def _write(self, data: memoryview | bytes) -> None:
        try:
            size = self._target.send(data)
        except BlockingIOError:
            size = 0
        except OSError:
            self._target_ended()
            return
        if size < len(data):
            if not self._rest:
                self._pause()
                self._loop.add_writer(self._target.fileno(), self._write_rest)
            self._rest = bytes(data[size:])
        elif self._rest:
            self._rest = b""
            self._loop.remove_writer(self._target.fileno())
        if size:
            self.moved(size)
        self.start()

    def _write_rest(self) -> None:
        self._write(self._rest)


def kernel_socket(address: tuple[str, int]) -> socket.socket:
    """Return a socket that is connecting to a kernel's port."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    error = sock.connect_ex(address)
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock
