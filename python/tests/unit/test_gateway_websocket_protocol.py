"""The frames of a websocket: messages of any size, in bounded memory."""

import asyncio
import itertools
import os

import pytest
import pytest_asyncio
from tornado.iostream import StreamClosedError
from tornado.websocket import _websocket_mask, _WebSocketParams

from gateway_provisioners.gateway.process.limits import LARGE_BYTES, Limits
from gateway_provisioners.gateway.websocket.websocket_protocol import (
    KEPT_BYTES,
    BoundedWebSocketProtocol,
)

MIB = 2**20
CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9


class Stream:
    """The bytes that a client sends; remembers the largest piece that was read at once."""

    def __init__(self):
        self.sent = b""
        self.written = b""
        self.largest = 0
        self._closed = False
        self.io_loop = self
        self.error = None

    async def read_bytes(self, n):
        if self._closed or n > len(self.sent):
            raise StreamClosedError
        self.largest = max(self.largest, n)
        data, self.sent = self.sent[:n], self.sent[n:]
        return data

    def write(self, data):
        self.written += data
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def close(self):
        self._closed = True

    def closed(self):
        return self._closed

    def time(self):
        return 0

    def add_timeout(self, *_):
        return None

    remove_timeout = add_timeout


class Handler:
    def __init__(self):
        self.messages = []
        self.too_large = []
        self.waits = None

    def on_data(self, data, *, text):
        self.messages.append((data, text))
        return self.waits

    def on_too_large(self, data, size, *, text):
        self.too_large.append((data, size, text))

    def on_ping(self, data):
        pass

    def on_ws_connection_close(self, *_):
        pass


@pytest_asyncio.fixture
async def limits():
    limits = Limits()
    limits.messages.to_kernel = 2 * MIB
    return limits


@pytest_asyncio.fixture
async def protocol(limits):
    protocol = BoundedWebSocketProtocol(Handler(), _WebSocketParams(), limits)
    protocol.stream = Stream()
    return protocol


def frame(payload, opcode=BINARY, *, final=True):
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return bytes([0x80 * final | opcode]) + length + mask + _websocket_mask(mask, payload)


def fragments(*payloads):
    last = len(payloads) - 1
    return b"".join(
        frame(payload, CONTINUATION if n else BINARY, final=n == last)
        for n, payload in enumerate(payloads)
    )


async def receive(protocol, *frames):
    protocol.stream.sent = b"".join(frames)
    await protocol._receive_frame_loop()
    return protocol.handler


def numbers(size):
    """Return bytes of which each 8 differ from all others."""
    return b"".join(n.to_bytes(8, "big") for n in range(size // 8 + 1))[:size]


async def test_messages_arrive_as_they_were_sent(protocol, limits):
    large = numbers(LARGE_BYTES + 1)
    handler = await receive(
        protocol, frame("ä".encode(), TEXT), frame(large), fragments(b"a", b"b", large)
    )
    assert handler.messages == [("ä".encode(), True), (large, False), (b"ab" + large, False)]
    assert limits.large.held == 0


async def test_large_message_holds_its_share_until_it_is_handled(protocol, limits):
    handled = protocol.handler.waits = asyncio.get_running_loop().create_future()
    receiving = asyncio.ensure_future(receive(protocol, frame(bytes(LARGE_BYTES + 1))))
    while not protocol.handler.messages:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert limits.large.held == LARGE_BYTES + 1
    handled.set_result(None)
    await receiving
    assert limits.large.held == 0


async def test_large_message_is_not_read_without_a_share(protocol, limits):
    others = limits.large.share(lambda: None)
    await others.take(limits.large.total)
    receiving = asyncio.ensure_future(receive(protocol, frame(bytes(LARGE_BYTES + 1))))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(protocol.stream.sent) > LARGE_BYTES
    others.close()
    assert len((await receiving).messages) == 1


async def test_closed_connection_holds_no_share(protocol, limits):
    protocol.handler.waits = asyncio.get_running_loop().create_future()
    receiving = asyncio.ensure_future(receive(protocol, frame(bytes(LARGE_BYTES + 1))))
    while not protocol.handler.messages:  # noqa: ASYNC110
        await asyncio.sleep(0)
    protocol.on_connection_close()
    assert limits.large.held == 0
    receiving.cancel()


@pytest.mark.parametrize("more", range(4))
async def test_beginning_and_end_of_a_message_too_large_are_kept(protocol, more):
    message = numbers(4 * MIB + more)
    handler = await receive(protocol, frame(message, TEXT), frame(b"next"))
    ((kept, size, text),) = handler.too_large
    assert (size, text) == (len(message), True)
    assert kept[:KEPT_BYTES] == message[:KEPT_BYTES]
    assert kept[-KEPT_BYTES:] == message[-KEPT_BYTES:]
    assert protocol.stream.largest <= MIB
    assert handler.messages == [(b"next", False)]


async def test_fragments_too_large_together_are_discarded(protocol, limits):
    parts = [numbers(MIB) for _ in range(5)]
    handler = await receive(protocol, fragments(*parts), frame(b"next"))
    ((kept, size, _),) = handler.too_large
    assert size == 5 * MIB
    assert kept[:KEPT_BYTES] == parts[0][:KEPT_BYTES]
    assert kept[-KEPT_BYTES:] == parts[-1][-KEPT_BYTES:]
    assert len(kept) < 4 * KEPT_BYTES
    assert handler.messages == [(b"next", False)]
    assert limits.large.held == 0


async def test_ping_in_a_message_too_large_is_answered(protocol):
    parts = [bytes(MIB)] * 4
    first, *others = [
        frame(part, CONTINUATION if n else BINARY, final=n == 3) for n, part in enumerate(parts)
    ]
    ping = frame(b"a ping of some length", PING)
    await receive(protocol, first, *itertools.chain(*((ping, other) for other in others)))
    assert protocol.stream.written.count(b"a ping of some length") == 3


@pytest.mark.parametrize("in_fragments", [True, False])
async def test_message_without_an_end_is_cut_off(protocol, limits, in_fragments):
    parts = [bytes(MIB)] * 30
    sent = fragments(*parts) if in_fragments else frame(b"".join(parts))
    handler = await receive(protocol, sent, frame(b"next"))
    assert (handler.too_large, handler.messages) == ([], [])
    assert b"\x03\xf1" in protocol.stream.written  # 1009
    protocol.on_connection_close()
    assert limits.large.held == 0
