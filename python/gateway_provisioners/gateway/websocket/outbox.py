"""Messages that wait to be written to a client's websocket, in order and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from gateway_provisioners.aio import call_later
from gateway_provisioners.gateway.process.limits import FREE_BYTES, Limits
from gateway_provisioners.gateway.websocket.websocket_protocol import BoundedWebSocketProtocol

Part = bytes | memoryview

# A message is written in fragments of this size: progress shows even with clients that read slowly, and
# no fragment keeps the event loop.
FRAGMENT_BYTES = 128 * 1024
# What one connection writes before others have their turn on the event loop.
_TURN_BYTES = 256 * 1024
# A client that has read nothing for so long is sent away.
STALLED_SECONDS = 30.0


class FragmentWriter(Protocol):
    """Writes websocket messages, fragment by fragment."""

    def write_fragment(
        self, data: bytes, *, binary: bool, first: bool, last: bool
    ) -> asyncio.Future[None]: ...


@dataclass(eq=False)
class _Message:
    parts: deque[Part]
    size: int
    binary: bool
    accounted: int
    unaccounted: int
    on_written: Callable[[], object]
    begun: bool = False


class Outbox:
    """Writes messages as fast as the client reads them.

    Args:
        writer: the websocket.
        limits: bounds what waits.

    Attributes:
        backlog: the number of bytes that have not been written to the client's socket.
        queued_messages: the number of binary messages so far.
        sent_messages: how many of them have been passed on to the socket whole.
        on_room: called when there is room again.
        on_stalled: called when the client reads nothing, or when others need the memory that waits for it.
    """

    def __init__(self, writer: FragmentWriter, limits: Limits) -> None:
        self.backlog = 0
        self.queued_messages = 0
        self.sent_messages = 0
        self.on_room: Callable[[], object] = _ignore
        self.on_stalled: Callable[[], object] = _ignore
        self._writer = writer
        self._most = limits.client_buffer_bytes
        self._share = limits.buffers.share(lambda: self.on_stalled())  # noqa: PLW0108 - set later
        self._lacks_room = False
        self._reserved = 0
        self._request: asyncio.Future[None] | None = None
        self._messages: deque[_Message] = deque()
        self._unaccounted = 0  # what waits beyond the free bytes, without a share
        self._in_flight = 0
        self._this_turn = 0
        self._turn: asyncio.Handle | None = None
        self._last: asyncio.Future[None] | None = None  # the newest fragment
        self._loop = asyncio.get_running_loop()
        self._progress = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    def has_room(self) -> bool:
        """Return whether a message may be written; if not, `on_room` is called later."""
        self._lacks_room = not self._has_room()
        return not self._lacks_room

    def _has_room(self) -> bool:
        if self._closed or self.backlog >= self._most:
            return False
        if self.backlog >= FREE_BYTES and not self._reserved and self._request is None:
            self._request = self._share.take(self._most)
            if self._request.done():
                self._reserve(self._request)
            else:
                self._request.add_done_callback(self._reserve_later)
        return self.backlog < FREE_BYTES or bool(self._reserved)

    def can_keep(self, size: int, most: int, *, urgent: bool = False) -> bool:
        """Return whether a message can wait here although the client has no room for it.

        Args:
            most: the limit of what waits then.
            urgent: whether a little may wait even if the budget of all clients is used up.
        """
        total = self.backlog + size
        return total <= most and (
            total <= FREE_BYTES
            or self._share.is_free(size)
            or (urgent and self._unaccounted + size <= FREE_BYTES)
        )

    def write(
        self,
        parts: Sequence[Part],
        *,
        binary: bool,
        on_written: Callable[[], object] | None = None,
    ) -> bool:
        """Write a message.

        Args:
            parts: make up the message; none: nothing is written, and `on_written` is called in its turn.
            on_written: called when all of it was written to the client's socket.

        Returns:
            whether its memory is accounted for here; otherwise the caller's source has to account for it
            until it is written.
        """
        if self._closed:
            return True
        if not parts:
            if on_written is not None:
                self._messages.append(_Message(deque(), 0, False, 0, 0, on_written))
                self._write_on()
            return True
        size = sum(map(len, parts))
        must_account = size > FREE_BYTES or (self.backlog >= FREE_BYTES and not self._reserved)
        accounted = size if must_account and self._share.try_take(size) else 0
        unaccounted = size - accounted if must_account else 0
        self._unaccounted += unaccounted
        if not self.backlog:
            self._progressed()
        self._messages.append(
            _Message(deque(parts), size, binary, accounted, unaccounted, on_written or _ignore)
        )
        self.backlog += size
        self.queued_messages += binary
        self._write_on()
        return size <= FREE_BYTES or bool(accounted) or not self.backlog

    def close(self) -> None:
        """Forget what has not been written."""
        self._closed = True
        for handle in (self._turn, self._watch):
            if handle is not None:
                handle.cancel()
        self._messages.clear()
        self.backlog = 0
        self._share.close()

    def _write_on(self) -> None:
        while self._messages and not self._closed and self._in_flight < _TURN_BYTES:
            if self._this_turn >= _TURN_BYTES:
                break
            message = self._messages[0]
            if not message.size:
                self._messages.popleft()
                if self._last is None or self._last.done():
                    message.on_written()
                else:
                    self._last.add_done_callback(partial(_call, message.on_written))
                continue
            data = _fragment(message.parts)
            last = not message.parts
            if last:
                self._messages.popleft()
                self.sent_messages += message.binary
            first, message.begun = not message.begun, True
            try:
                written = self._writer.write_fragment(
                    data, binary=message.binary, first=first, last=last
                )
            except (StreamClosedError, WebSocketClosedError):
                self.close()
                return
            self._last = written
            self._in_flight += len(data)
            self._this_turn += len(data)
            count = partial(self._count, len(data), message if last else None)
            if written.done():
                count(written)
            else:
                written.add_done_callback(count)
                written.add_done_callback(self._write_more)
        if self._turn is None and self._this_turn and not self._closed:
            self._turn = self._loop.call_soon(self._next_turn)

    def _write_more(self, _written: asyncio.Future[None]) -> None:
        self._write_on()

    def _next_turn(self) -> None:
        self._turn = None
        self._this_turn = 0
        self._write_on()

    def _count(self, size: int, message: _Message | None, written: asyncio.Future[None]) -> None:
        """Count a fragment that was written, the last one of `message` unless that is None."""
        if self._closed:
            return
        if written.cancelled() or written.exception() is not None:
            self.close()
            return
        self._in_flight -= size
        self.backlog -= size
        self._progressed()
        if message is not None:
            self._share.release(message.accounted)
            self._unaccounted -= message.unaccounted
            message.on_written()
        self._release_reserve()
        if self._lacks_room and self.has_room():
            self.on_room()

    def _release_reserve(self) -> None:
        if self.backlog < FREE_BYTES and self._reserved:
            self._share.release(self._reserved)
            self._reserved = 0

    def _progressed(self) -> None:
        self._progress = self._loop.time()
        self._share.progressed()
        if self._watch is None and not self._closed:
            self._watch = call_later(STALLED_SECONDS, self._look)

    def _look(self) -> None:
        """Find out whether the client reads."""
        self._watch = None
        if not self.backlog:
            return
        left = self._progress + STALLED_SECONDS - self._loop.time()
        if left <= 0:
            self.on_stalled()
        else:
            self._watch = call_later(left, self._look)

    def _reserve(self, granted: asyncio.Future[None]) -> None:
        self._request = None
        if not granted.cancelled():
            self._reserved = self._most

    def _reserve_later(self, granted: asyncio.Future[None]) -> None:
        self._reserve(granted)
        self._release_reserve()
        if self._lacks_room and self.has_room():
            self.on_room()


class _WholeMessages:
    """Writes whole messages, to websockets of jupyter_server's own handlers."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._data = b""

    def write_fragment(
        self, data: bytes, *, binary: bool, first: bool, last: bool
    ) -> asyncio.Future[None]:
        self._data = data if first else self._data + data
        if last:
            whole, self._data = self._data, b""
            written: asyncio.Future[None] = self._handler.write_message(whole, binary=binary)
            return written
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def fragment_writer(handler: Any) -> FragmentWriter:
    """Return what writes to a handler's websocket."""
    connection = handler.ws_connection
    if isinstance(connection, BoundedWebSocketProtocol):
        return connection
    return _WholeMessages(handler)


def _fragment(parts: deque[Part]) -> bytes:
    """Take the next fragment off the parts of a message."""
    pieces: list[Part] = []
    room = FRAGMENT_BYTES
    while parts and room:
        part = parts.popleft()
        if len(part) > room:
            view = memoryview(part)
            parts.appendleft(view[room:])
            part = view[:room]
        pieces.append(part)
        room -= len(part)
    return b"".join(pieces)


def _call(callback: Callable[[], object], _done: object) -> None:
    callback()


def _ignore(*_: object) -> None:
    pass
