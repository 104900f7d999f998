"""Metered connections: 0MQ connections to kernels whose bytes are counted, and so bounded.

0MQ itself cannot bound what a peer makes it hold: its limits count messages, not bytes, and
ZMQ_MAXMSGSIZE applies to each frame of a message whose number of frames has no limit. Besides, 0MQ never
connects again after a frame that is too large. So a socket connects to a Unix socket of this process, and a
pump moves the bytes between that and the kernel's port. The pump knows how many bytes 0MQ was given and how
many the application has taken, and reads no more from TCP when enough is on its way: what waits then stays
with the kernel, by TCP's own flow control.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import uuid
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway_provisioners.gateway.channels.allowance import FRAME_BYTES, Allowance
from gateway_provisioners.gateway.channels.link import Link, kernel_socket
from gateway_provisioners.gateway.channels.pauses import LONGEST_SECONDS, Pauses
from gateway_provisioners.gateway.process.limits import Limits

_log = logging.getLogger(__name__)

# ZMTP 3.1: the header of a short and of a long frame, and what CurveZMQ (RFC 26) adds to each frame.
_SHORT_HEADER, _LONG_HEADER, _CURVE = 2, 9, 33
_LONGEST_SHORT_FRAME = 255
# 0MQ sends what it has within this time, if the connection takes it.
_SETTLED_SECONDS = 1.0
# How long to wait when there are too many open files.
_PAUSE_SECONDS = 1.0
# 0MQ connects again after 0.2 seconds at most, by its own default, if it does so at all.
_RECONNECT_SECONDS = 5.0
# ucred of struct SO_PEERCRED (unix(7)): pid, uid, gid.
_CREDENTIALS = struct.Struct("iII")


class _Sized(Protocol):
    def __len__(self) -> int: ...


def _ignore(*_: object) -> None:
    pass


class MeteredConnection:
    """The connection of one 0MQ socket to a kernel's port, which 0MQ may make again and again.

    Args:
        host, port: the kernel's port.
        limits: bounds what is on its way.
        encrypted: whether the socket uses CurveZMQ.

    Attributes:
        endpoint: what the socket connects to, instead of the kernel's port.
        is_starved: whether the application would take a message now, and 0MQ has none for it: then the one
            in transit is larger than what was read of it. By default, the application takes nothing.
        give_up: called when other connections have waited too long for what this one holds: it is cut if
            it was not closed.
        on_cut: called when the connection was cut because of what the kernel sent, or did not send.
        on_ended: called when 0MQ itself has ended it, because it makes no sense of what came: it makes no
            other connection unless the socket connects to the endpoint again.
        on_sent: called when bytes have left for the kernel.
    """

    def __init__(
        self,
        host: str,
        port: int,
        limits: Limits,
        *,
        encrypted: bool,
    ) -> None:
        self.is_starved: Callable[[], bool] = lambda: False
        self.give_up: Callable[[], object] = _ignore
        self.on_cut: Callable[[], object] = _ignore
        self.on_ended: Callable[[], object] = _ignore
        self.on_sent: Callable[[], object] = _ignore
        self._kernel = host, port
        self._overhead = _CURVE if encrypted else 0
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(
            limits,
            lambda: self.is_starved(),  # noqa: PLW0108 - set later
            self._press,
            self._cut,
        )
        self._link: Link | None = None
        # The connection of 0MQ that waits for the next attempt, and how long it waits.
        self._linking: tuple[socket.socket, asyncio.TimerHandle] | None = None
        # Runs while 0MQ has to connect again.
        self._absence: asyncio.TimerHandle | None = None
        self._pauses = Pauses(self._loop.time)
        self._waiting = 0
        self._moved_at = 0.0
        name = f"kernel-{uuid.uuid4().hex}"
        self.endpoint = f"ipc://@{name}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(f"\0{name}")
        self._listener.listen(1)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    @property
    def closed(self) -> bool:
        return self._listener.fileno() == -1

    @property
    def is_open(self) -> bool:
        """True while there is a connection, which may be sending its last bytes."""
        return self._link is not None and self._link.is_open

    @property
    def waiting(self) -> int:
        """The number of bytes that were sent and have not left for the kernel."""
        if (
            self._link is None
            or self._link.blocked
            or self._loop.time() < self._moved_at + _SETTLED_SECONDS
        ):
            return self._waiting
        self._waiting = 0  # a connection that broke took the rest with it
        return 0

    def sent(self, frames: Iterable[_Sized]) -> None:
        """Count a message that the application has sent."""
        self._waiting += self._wire_size(frames)
        self._moved_at = self._loop.time()

    def consumed(self, frames: Iterable[_Sized]) -> None:
        """Count a message that the application has taken, and whose memory it accounts for."""
        frames = list(frames)
        size = self._wire_size(frames) + FRAME_BYTES * len(frames)
        self._allowance.consumed(size, len(frames))

    def resume(self) -> None:
        """Read on, if the application now wants more."""
        if self._link is not None:
            self._link.read_on()

    def close(self) -> None:
        """Accept no other connection, and close this one once what 0MQ still sends has left."""
        if self.closed:
            return
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._stop_waiting()
        self._allowance.close()
        if self._link is not None:
            self._link.finish()
        else:
            self._unlink()
        self.on_cut = self.on_ended = self.on_sent = _ignore

    def _cut(self) -> None:
        """Close the connection because of what came; 0MQ makes another one."""
        self._unlink()
        self._log_cut("sent too large a message, or nonsense")
        self.on_cut()

    def _ended(self) -> None:
        """Note that 0MQ has ended the connection, which it does if it cannot make sense of what it gets."""
        self._unlink()
        self._stop_waiting()
        self._log_cut("does not speak 0MQ")
        self.on_ended()
        self.on_cut()

    def _press(self) -> None:
        """Give back the memory of a message that does not end."""
        self.give_up()
        if not self.closed:
            self._unlink()
            self._log_cut("does not finish a message, whose memory others need")
            self.on_cut()

    def _log_cut(self, what: str) -> None:
        if self._pauses.after_short < LONGEST_SECONDS:  # the first ones of a series
            _log.warning("The kernel at %s:%d %s.", *self._kernel, what)

    def _left(self, size: int) -> None:
        self._waiting = max(self._waiting - size, 0)
        self._moved_at = self._loop.time()
        self.on_sent()

    def _wire_size(self, frames: Iterable[_Sized]) -> int:
        total = 0
        for frame in frames:
            size = len(frame) + self._overhead
            total += size + (_SHORT_HEADER if size <= _LONGEST_SHORT_FRAME else _LONG_HEADER)
        return total

    def _accept(self) -> None:
        ours = self._accepted()
        if ours is None:
            return
        self._unlink()
        self._stop_waiting()
        # 0MQ connects again as soon as its connection has ended: for a kernel that is gone, forever.
        pause = self._pauses.next()
        self._linking = ours, self._loop.call_later(pause, self._link_to_kernel, ours)

    def _link_to_kernel(self, ours: socket.socket) -> None:
        self._linking = None
        try:
            kernels = kernel_socket(self._kernel)
        except OSError:
            ours.close()
            self._wait_for_0mq()
            return
        self._link = Link(
            self._loop,
            ours,
            kernels,
            self._allowance,
            self._left,
            self._pauses.connected,
            self._ended,
            self._wait_for_0mq,
        )

    def _wait_for_0mq(self) -> None:
        """Expect 0MQ to connect again.

        A kernel may have closed its side before 0MQ has read its last bytes: if they make no sense, then 0MQ
        ends its side unseen.
        """
        if not self.closed:
            self._stop_waiting()
            self._absence = self._loop.call_later(_RECONNECT_SECONDS, self._ended)

    def _stop_waiting(self) -> None:
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None

    def _accepted(self) -> socket.socket | None:
        """Return a connection of this process, or None."""
        try:
            ours, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # The connection still waits: the event loop would ask again at once.
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_PAUSE_SECONDS, self._listen_again)
                self._wait_for_0mq()
                _log.error("Connections to kernels have to wait: %s", error.strerror)
            return None
        credentials = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[0] != os.getpid():
            ours.close()
            return None
        ours.setblocking(False)
        return ours

    def _listen_again(self) -> None:
        if not self.closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _unlink(self) -> None:
        if self._linking is not None:
            ours, timer = self._linking
            timer.cancel()
            ours.close()
            self._linking = None
            self._wait_for_0mq()
        if self._link is not None:
            self._link.close()
            self._link = None
