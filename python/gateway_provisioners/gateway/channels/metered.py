"""Metered connections: 0MQ connections to kernels whose bytes are counted, and so bounded.

0MQ itself cannot bound what a peer makes it hold: its limits count messages, not bytes, and
ZMQ_MAXMSGSIZE applies to each frame of a message whose number of frames has no limit. Besides, 0MQ never
connects again after a frame that is too large. So a socket connects
to a Unix socket of this process, and a pump moves the bytes between that and the kernel's port. The pump
knows how many bytes 0MQ was given and how many the application has taken, and reads no more from TCP when
enough is on its way: what waits then stays with the kernel, by TCP's own flow control.
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

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.channels.frames import FrameCounter
from gateway_provisioners.gateway.process.limits import FREE_BYTES, LARGE_BYTES, Limits

_log = logging.getLogger(__name__)

# The pumps of all connections read into the same memory, one after the other.
_SCRATCH = memoryview(bytearray(FREE_BYTES))
# Heartbeats and the like, which no application takes: a kernel may send so many bytes a second uncounted.
_UNCOUNTED_PER_SECOND = 32
# TCP would let its own buffer grow to several MiB, which count as memory of the gateway's container.
_RECEIVE_BUFFER_BYTES = 256 * 1024
# A kernel's node that is lost is noticed after 30 seconds. 0MQ's heartbeats would also end connections that
# are not read for a while.
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 4,
}
# ZMTP 3.1: the header of a short and of a long frame, and what CurveZMQ (RFC 26) adds to each frame.
_SHORT_HEADER, _LONG_HEADER, _CURVE = 2, 9, 33
_LONGEST_SHORT_FRAME = 255
# What a frame costs 0MQ and Python besides its content: even empty ones fill the memory.
_FRAME_BYTES = 128
# 0MQ reads into buffers of this size, and small frames keep the whole of theirs.
_BUFFER_BYTES = 8192
# More than a message may have, so that to take one keeps the event loop for a few milliseconds; and more
# than so many bytes hold of messages that mean something.
_MOST_FRAMES, _MOST_FRAMES_AT_ONCE = 12_000, 4_000
# How long a connection that was closed may take to send its last messages.
_LAST_SECONDS = 2.0
# 0MQ sends what it has within this time, if the connection takes it.
_SETTLED_SECONDS = 1.0
# The pauses between connections to a kernel's port, and how long one has to last so that the next follows
# at once.
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
_STEADY_SECONDS = 10.0
# How long to wait when there are too many open files.
_PAUSE_SECONDS = 1.0
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
        self._allowance = _Allowance(
            limits,
            lambda: self.is_starved(),  # noqa: PLW0108 - set later
            self._press,
            self._cut,
        )
        self._link: _Link | None = None
        # The connection of 0MQ that waits for the next attempt, and how long it waits.
        self._linking: tuple[socket.socket, asyncio.TimerHandle] | None = None
        self._pauses = _Pauses(self._loop.time)
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
        size = self._wire_size(frames) + _FRAME_BYTES * len(frames)
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
        """Note that 0MQ has closed its side, which it does if it cannot make sense of what it gets."""
        self._unlink()
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
        if self._pauses.after_short < _LONGEST_PAUSE_SECONDS:  # the first ones of a series
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
        # 0MQ connects again as soon as its connection has ended: for a kernel that is gone, forever.
        pause = self._pauses.next()
        self._linking = ours, self._loop.call_later(pause, self._link_to_kernel, ours)

    def _link_to_kernel(self, ours: socket.socket) -> None:
        self._linking = None
        try:
            kernels = _kernel_socket(self._kernel)
        except OSError:
            ours.close()
            return
        self._link = _Link(
            self._loop,
            ours,
            kernels,
            self._allowance,
            self._left,
            self._pauses.connected,
            self._ended,
        )

    def _accepted(self) -> socket.socket | None:
        """Return a connection of this process, or None."""
        try:
            ours, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # The connection still waits: the event loop would ask again at once.
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_PAUSE_SECONDS, self._listen_again)
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
        if self._link is not None:
            self._link.close()
            self._link = None


class _Pauses:
    """The pauses before connections to a port: ever longer after those that were refused, or were short.

    Args:
        now: the clock.

    Attributes:
        after_refused, after_short: the newest pauses; the longer one counts.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.after_refused = 0.0
        self.after_short = 0.0
        self._now = now
        self._connected_at = now() - _STEADY_SECONDS
        self._is_connected = True

    def connected(self) -> None:
        """Note that the port could be reached."""
        self._is_connected = True
        self._connected_at = self._now()
        self.after_refused = 0.0

    def next(self) -> float:
        """Return the pause before another connection, after the last one has ended."""
        if not self._is_connected:
            self.after_refused = _longer(self.after_refused)
        elif self._now() < self._connected_at + _STEADY_SECONDS:
            self.after_short = _longer(self.after_short)
        else:
            self.after_short = 0.0
        self._is_connected = False
        return max(self.after_refused, self.after_short)


def _longer(pause: float) -> float:
    return min(max(2 * pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)


class _Link:
    """One connection between 0MQ and the kernel."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ours: socket.socket,
        kernels: socket.socket,
        allowance: _Allowance,
        left: Callable[[int], object],
        connected: Callable[[], object],
        ended: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._report_connected = connected
        self._report_end = ended
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


class _Allowance:
    """A limit of what 0MQ may hold before the application has taken it.

    Args:
        cut: called when even the largest message is smaller than what has come.

    Attributes:
        outstanding: the number of bytes that 0MQ has and the application has not taken, with what their
            frames cost besides.
        on_free: called when more may be read again.
    """

    def __init__(
        self,
        limits: Limits,
        is_starved: Callable[[], bool],
        give_up: Callable[[], object],
        cut: Callable[[], object],
    ) -> None:
        largest = limits.messages.from_kernel + LARGE_BYTES
        # Each step beyond what is free is a share of a budget.
        self._steps = (
            (limits.buffers.share(give_up), LARGE_BYTES),
            (limits.large.share(give_up), largest),
        )
        self._is_starved = is_starved
        self._cut = cut
        self._granted = 0  # how many of the steps
        self._request: asyncio.Future[None] | None = None
        self._total = FREE_BYTES
        self.outstanding = 0.0
        self._buffers = 0.0  # what 0MQ's buffers cost besides
        self._frames = 0  # of what is outstanding
        self._earlier = 0.0  # what is outstanding of earlier connections
        self._counter = FrameCounter()
        self._loop = asyncio.get_running_loop()
        self._counted_at = self._loop.time()
        self.on_free: Callable[[], object] = _ignore

    def free(self) -> int:
        """Return how many bytes may be read now, after asking a budget for more if they are needed."""
        if self._earlier:
            self._settle()
        if self._frames > _MOST_FRAMES and self._is_starved():
            self._cut()
            return 0
        # One step may not be enough for what many small frames cost.
        while self._left < 1 and not self._request and self._is_starved():
            if self._granted == len(self._steps):
                self._cut()
                return 0
            share, size = self._steps[self._granted]
            self._request = share.take(size)
            if self._request.done():
                self._extend(self._request)
            else:
                self._request.add_done_callback(self._extend_later)
        return min(int(self._left), len(_SCRATCH))

    def seen(self, data: memoryview) -> None:
        """Count what 0MQ is about to be given; cut the connection if it cannot be counted."""
        now = self._loop.time()
        self._reduce((now - self._counted_at) * _UNCOUNTED_PER_SECOND)
        self._counted_at = now
        try:
            frames = self._counter.count(data)
        except ProtocolError:
            self._cut()
            return
        if frames > _MOST_FRAMES_AT_ONCE:
            self._cut()
            return
        self._frames += frames
        self.outstanding += len(data) + frames * _FRAME_BYTES
        if frames:
            self._buffers += _BUFFER_BYTES
        for share, _ in self._steps[: self._granted]:
            share.progressed()

    def consumed(self, size: int, frames: int) -> None:
        """Count what the application has taken."""
        self._frames = max(self._frames - frames, 0)
        self._reduce(size)
        self._settle()
        self.on_free()

    def ended(self) -> None:
        """Note the end of the connection; whole messages of it stay with 0MQ."""
        self.on_free = _ignore
        self._counter = FrameCounter()
        self._earlier = self.outstanding
        self._settle()

    def close(self) -> None:
        """Give back what was granted."""
        self.on_free = _ignore
        self._is_starved = lambda: False
        self._request = None
        for share, _ in self._steps:
            share.close()

    @property
    def _left(self) -> float:
        return self._total - self.outstanding - self._buffers

    def _reduce(self, size: float) -> None:
        rest = max(self.outstanding - size, 0)
        self._earlier = max(self._earlier - size, 0)
        if not rest:
            self._buffers = self._frames = 0
        else:
            self._buffers *= rest / self.outstanding
        self.outstanding = rest

    def _settle(self) -> None:
        """Give back what is not needed any longer."""
        if self._earlier and self._is_starved():
            self._reduce(self._earlier)  # 0MQ drops the message that was not finished
        if self._request and self._left >= 1 and self._request.cancel():
            self._request = None
        while self._granted:
            share, step = self._steps[self._granted - 1]
            if self._left < step:
                break
            self._granted -= 1
            self._total -= step
            share.release(step)

    def _extend(self, granted: asyncio.Future[None]) -> None:
        if granted is self._request:
            self._request = None
            self._total += self._steps[self._granted][1]
            self._granted += 1

    def _extend_later(self, granted: asyncio.Future[None]) -> None:
        self._extend(granted)
        self.on_free()


def _kernel_socket(address: tuple[str, int]) -> socket.socket:
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
