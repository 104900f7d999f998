"""The five channels that Jupyter clients of this machine connect to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import zmq
import zmq.asyncio

from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.kernel.connection_file import ConnectionFile
from gateway_provisioners_client.kernel.signing import Signer

_DELIMITER = b"<IDS|MSG>"
_LEAST_PARTS = 4

# The socket that a reply goes to last is closed with it.
_LINGER_MILLISECONDS = 1000

# Any user of this machine can connect to a port of it, and send that much before a signature is checked.
_LARGEST_MESSAGE = 512 * 1024 * 1024
_LARGEST_HEARTBEAT = 1024

# A client that reads no output slows the kernel down for so long; then it loses output, and not the others.
_STALL_SECONDS = 10.0
_PAUSES = (0.001, 0.05)

# A client picks ports that are free, and closes them: until they are bound here, the system may give one to
# a connection of another program, which most often ends in a moment. Clients wait 60 s for a kernel.
_TAKEN_SECONDS = 20.0
_TAKEN_PAUSE = 0.1

Take = Callable[[str, list[bytes], list[bytes]], Awaitable[None]]


class LocalChannels:
    """Binds the channels, checks and makes signatures.

    Args:
        connection: of the connection file.
        take: called with a channel, the sender's identities and header, parent header, metadata, content and
            buffers; the channel waits for it.
    """

    def __init__(self, connection: ConnectionFile, take: Take) -> None:
        self._connection = connection
        self._take = take
        self._signer = Signer(connection.key, connection.digest)
        self._context = zmq.asyncio.Context()
        self._routers: dict[str, zmq.asyncio.Socket] = {}
        self._sockets: list[zmq.Socket[bytes] | zmq.asyncio.Socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._backlog: deque[list[bytes]] = deque()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._is_stalled = False

    async def bind(self) -> None:
        """Begin to listen; wait a moment for an address that another program uses.

        Raises:
            ClientError: an address is taken, or not one of this machine.
        """
        deadline = time.monotonic() + _TAKEN_SECONDS
        for channel in ("shell", "control", "stdin"):
            router = self._context.socket(zmq.ROUTER)
            # A client that connects again keeps its identity.
            router.setsockopt(zmq.ROUTER_HANDOVER, 1)
            router.setsockopt(zmq.MAXMSGSIZE, _LARGEST_MESSAGE)
            await self._bind(router, channel, deadline)
            self._routers[channel] = router
        heart = self._context.socket(zmq.REP)
        heart.setsockopt(zmq.MAXMSGSIZE, _LARGEST_HEARTBEAT)
        await self._bind(heart, "hb", deadline)
        # Not one of zmq.asyncio: it only sends, and says at once when a client does not keep up.
        self._iopub: zmq.Socket[bytes] = zmq.Socket(self._context, zmq.PUB)
        self._iopub.setsockopt(zmq.XPUB_NODROP, 1)
        await self._bind(self._iopub, "iopub", deadline)
        self._tasks = [
            asyncio.ensure_future(self._receive(*each)) for each in self._routers.items()
        ]
        self._tasks.append(asyncio.ensure_future(_beat(heart)))

    async def _bind(
        self, socket: zmq.Socket[bytes] | zmq.asyncio.Socket, channel: str, deadline: float
    ) -> None:
        self._sockets.append(socket)
        socket.linger = _LINGER_MILLISECONDS
        if self._connection.curve_keys:
            socket.curve_publickey, socket.curve_secretkey = self._connection.curve_keys
            socket.curve_server = True
        address = self._connection.addresses[channel]
        while True:
            try:
                socket.bind(address)
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                    msg = f"The address {address} cannot be used: {error.strerror}."
                    raise ClientError(msg) from error
                await asyncio.sleep(_TAKEN_PAUSE)
            else:
                return

    async def _receive(self, channel: str, router: zmq.asyncio.Socket) -> None:
        while True:
            frames: list[bytes] = await router.recv_multipart()
            if _DELIMITER not in frames:
                continue
            end = frames.index(_DELIMITER)
            identities, signature, parts = (
                frames[:end],
                frames[end + 1 : end + 2],
                frames[end + 2 :],
            )
            if len(parts) >= _LEAST_PARTS and self._signer.is_genuine(signature[0], parts):
                await self._take(channel, identities, parts)

    def reply(self, channel: str, identities: list[bytes], parts: Sequence[bytes]) -> None:
        """Send a message to one client."""
        message = [*identities, _DELIMITER, self._signer.sign(parts), *parts]
        # A client that is gone gets no reply, and nothing waits for it.
        sending = asyncio.ensure_future(self._routers[channel].send_multipart(message, copy=False))
        sending.add_done_callback(_ignore)

    def publish(self, parts: Sequence[bytes]) -> None:
        """Send output to all clients; `flushed` says when it has left."""
        message = [b"kernel", _DELIMITER, self._signer.sign(parts), *parts]
        if self._backlog or not self._send(message):
            self._backlog.append(message)
            if self._flushed.is_set():
                self._flushed.clear()
                self._tasks.append(asyncio.ensure_future(self._flush()))

    async def flushed(self) -> None:
        """Wait until no output waits for a client."""
        await self._flushed.wait()

    def _send(self, message: list[bytes]) -> bool:
        try:
            self._iopub.send_multipart(message, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            if self._is_stalled:
                self._send_lossy(message)
            return self._is_stalled
        self._is_stalled = False
        return True

    def _send_lossy(self, message: list[bytes]) -> None:
        self._iopub.setsockopt(zmq.XPUB_NODROP, 0)
        self._iopub.send_multipart(message, zmq.NOBLOCK, copy=False)
        self._iopub.setsockopt(zmq.XPUB_NODROP, 1)

    async def _flush(self) -> None:
        """Send what waits; 0MQ has no event for room in a queue of one of several subscribers."""
        pause, longest = _PAUSES
        since = time.monotonic()
        try:
            while self._backlog:
                if self._send(self._backlog[0]):
                    self._backlog.popleft()
                    pause, since = _PAUSES[0], time.monotonic()
                elif time.monotonic() - since > _STALL_SECONDS:
                    # Until that client reads again, each further message is lost for it, and without a wait.
                    self._is_stalled = True
                    self._send_lossy(self._backlog.popleft())
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest)
        finally:
            self._tasks = [each for each in self._tasks if each is not asyncio.current_task()]
            self._flushed.set()

    async def close(self) -> None:
        """Stop listening, once what was sent has left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in self._sockets:
            socket.close()
        # It waits for what was sent, for the sockets' linger time at most.
        await asyncio.to_thread(self._context.term)


async def _beat(heart: zmq.asyncio.Socket) -> None:
    while True:
        await heart.send(await heart.recv())


def _ignore(sent: asyncio.Future[Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError, zmq.ZMQError):
        sent.result()
