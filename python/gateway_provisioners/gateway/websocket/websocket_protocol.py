"""The websocket's frames: fragments to the client, and bounded messages from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from gateway_provisioners.gateway.process.limits import LARGE_BYTES, Limits

_CONTINUATION, _TEXT, _BINARY, _CONTROL = 0, 1, 2, 8
# The parts of a frame's header, and the control frames between the fragments of a message, are at most so
# long.
_ALWAYS_READ_BYTES = 125
# What is kept of a message that is too large, at its beginning and at its end: its header is in either.
KEPT_BYTES = 64 * 1024
# A client that sends a message this many times too large is disconnected.
_MOST_DISCARDED = 8
_TOO_BIG = 1009
# Room for the frame around a message of the kernel.
_ENVELOPE_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024


class BoundedWebSocketProtocol(WebSocketProtocol13):
    """tornado's protocol, whose large messages wait for memory and whose too large ones are discarded.

    Args:
        limits: bounds messages from the client.

    Attributes:
        discarded: the size of the message that is being handled, if it was too large: then the message is
            only its beginning and its end. Otherwise 0.
    """

    handler: Any

    def __init__(self, handler: Any, params: Any, limits: Limits) -> None:
        self._most = limits.messages.to_kernel + _ENVELOPE_BYTES
        params.max_message_size = self._most * _MOST_DISCARDED
        super().__init__(handler, False, params)
        self.discarded = 0
        self._large = limits.large.share(self._give_up)
        self._large_total = limits.large.total

    def write_fragment(
        self, data: bytes, *, binary: bool, first: bool, last: bool
    ) -> asyncio.Future[None]:
        """Write a part of a message.

        Raises:
            StreamClosedError: the client is gone.
        """
        opcode = (_BINARY if binary else _TEXT) if first else _CONTINUATION
        return self._write_frame(last, opcode, data)

    def on_connection_close(self) -> None:
        """Give back the memory of a message that was on its way."""
        self._large.close()
        super().on_connection_close()

    async def _receive_frame_loop(self) -> None:
        try:
            await super()._receive_frame_loop()
        finally:
            self._large.close()
            # The handler, its connection and this object refer to each other: what came of a message that was
            # cut off would wait for the garbage collector.
            self._fragmented_message_buffer = None
            self.stream._read_buffer = bytearray()
            self.stream._read_buffer_size = 0
            # Likewise a message that could not be written, by the frames of the error.
            if self.stream.error is not None:
                self.stream.error.__traceback__ = None

    async def _read_bytes(self, n: int) -> bytes:
        buffer = self._fragmented_message_buffer or bytearray()
        fragments = len(buffer)
        if fragments > (KEPT_BYTES if self.discarded else self._most):
            self.discarded = max(self.discarded, fragments)
            del buffer[KEPT_BYTES:]
        so_far = self.discarded or fragments
        if so_far + n > LARGE_BYTES and not self._large.held and not self.discarded:
            # Of a message in fragments, nothing is known but that it goes on.
            await self._large.take(self._large_total if so_far else min(n, self._large_total))
        if n > _ALWAYS_READ_BYTES and so_far + n > self._most:
            return await self._discard(n, so_far)
        return await super()._read_bytes(n)

    async def _discard(self, n: int, so_far: int) -> bytes:
        """Read a part of a message that is too large; return its end, and its beginning if it is the first.

        Raises:
            StreamClosedError: it is so large that the client was disconnected.
        """
        self.discarded = so_far + n
        if self.discarded > self.params.max_message_size:  # in fragments
            self.close(_TOO_BIG, "The message is too large.")
            self._abort()
            raise StreamClosedError
        head = b""
        if not so_far:
            head = await super()._read_bytes(KEPT_BYTES)
            n -= KEPT_BYTES
        # The mask of a frame repeats after 4 bytes: the end begins where the mask does.
        end = min(n, KEPT_BYTES + n % 4)
        n -= end
        while n:
            n -= len(await super()._read_bytes(min(n, _PIECE_BYTES)))
        return head + (await super()._read_bytes(end) if end else b"")

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        if opcode & _CONTROL:  # it may come between the fragments of a message
            return super()._handle_message(opcode, data)
        handled = None
        if self.client_terminated:
            pass
        elif self.discarded:
            self.handler.on_too_large(data, self.discarded, text=opcode == _TEXT)
        else:
            # tornado would decode text, to strings that are up to 4 times as large.
            handled = self._run_callback(partial(self.handler.on_data, text=opcode == _TEXT), data)
        if handled is None:
            self._handled()
            return None
        return self._after(handled)

    async def _after(self, handled: Awaitable[None]) -> None:
        try:
            await handled
        finally:
            self._handled()

    def _handled(self) -> None:
        self.discarded = 0
        self._large.release(self._large.held)

    def _give_up(self) -> None:
        self.handler.on_too_slow()
