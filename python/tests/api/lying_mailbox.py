"""A mailbox port that says what a test wants: a launcher is a user's own code, and may send anything.

It writes ZMTP 3.0 itself, byte by byte: 0MQ's own sockets send no message without an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
# 0MQ ends a connection because of this, and makes no other one.
NONSENSE = GREETING.replace(b"NULL", b"NONE")
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
_MORE, _LONG, _COMMAND = 1, 2, 4


def frame(content, *, more=False, command=False):
    """Return a frame of ZMTP."""
    flags = _MORE * more | _COMMAND * command
    if len(content) > 255:
        return bytes([flags | _LONG]) + len(content).to_bytes(8, "big") + content
    return bytes([flags, len(content)]) + content


def message(*frames):
    """Return a message of these frames."""
    return b"".join(frame(each, more=True) for each in frames[:-1]) + frame(frames[-1])


def welcome(**changes):
    """Return a launcher's first message."""
    content = {"execution_state": "idle", "dropped": 0, "last": 0, **changes}
    return message(b"welcome", json.dumps(content).encode())


class LyingMailbox:
    """A port that sends the lie of a test to each connection.

    Attributes:
        lie: an iterable of bytes, which are sent after 0MQ's handshake; None instead of it.
        leaves: whether it closes a connection after the lie.
        connections: the number of connections so far.
        serving: the tasks of the connections.
        was_sent: set when a lie was sent whole, or its connection was cut.
    """

    port: int

    def __init__(self):
        self.lie = ()
        self.is_zmq = True
        self.leaves = False
        self.connections = 0
        self.serving = set()
        self.was_sent = asyncio.Event()

    def tell(self, lie, *, is_zmq=True, leaves=False):
        """Send this from now on."""
        self.lie, self.is_zmq, self.leaves = lie, is_zmq, leaves
        self.was_sent.clear()

    @property
    def address(self):
        return "127.0.0.1", self.port

    async def _serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        try:
            await self._lie_to(reader, writer)
        finally:
            self.was_sent.set()
            writer.close()

    async def _lie_to(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if self.is_zmq:
                writer.write(GREETING)
                await reader.readexactly(len(GREETING))
                writer.write(frame(READY, command=True))
            for data in self.lie:
                writer.write(data)
                await writer.drain()
            self.was_sent.set()
            while not self.leaves and await reader.read(2**16):
                pass


@contextlib.asynccontextmanager
async def lying_mailbox():
    """Listen, and yield the mailbox."""
    mailbox = LyingMailbox()
    server = await asyncio.start_server(mailbox._serve, "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        for task in mailbox.serving:
            task.cancel()
        await asyncio.gather(*mailbox.serving, return_exceptions=True)
