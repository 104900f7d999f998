"""The client of the mailbox in a kernel's launcher (launchers/protocol/SPEC.md)."""

from __future__ import annotations

import asyncio
import hmac
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import zmq
from jupyter_client.manager import KernelManager

from gateway_provisioners.model.features import GATEWAY_FEATURES, parse_features

# The number of messages that are read before other tasks have their turn on the event loop.
_BATCH = 64
# An acknowledgement for each message would cost as much as the message. Messages that were not
# acknowledged when the gateway was killed come twice.
_ACKNOWLEDGE_SECONDS = 0.005
# The same as that of jupyter_client's channels.
_LINGER_MILLISECONDS = 1000
# The connection to a pod whose node is lost breaks after the timeout, and 0MQ then makes a new one.
_HEARTBEAT_MILLISECONDS = 10_000
_HEARTBEAT_TIMEOUT_MILLISECONDS = 30_000

Receive = Callable[["MailboxChannel", list[bytes]], None]


class Welcome(NamedTuple):
    """The launcher's first message: the kernel's state, the number of lost messages, and features."""

    execution_state: str
    dropped: int
    features: tuple[str, ...]


class MailboxConnection:
    """Receives all messages of a kernel for a client's session, from where it last left off.

    Args:
        kernel: has the address and the keys.
        port: the port of the mailbox.
        session: the client's session id.

    Attributes:
        welcomed: the launcher's first message; None if the connection was closed before it came.
        channels: replace the streams of Jupyter's channels.
        awaits_reply: whether a request was sent whose reply has not come yet.
        catching_up: whether the next messages are older than this connection.
        can_deliver: called before each message; one that cannot be delivered is not read, and so not lost.
        on_reply, on_dropped, on_taken: called when a reply has come, when that many messages are lost, and
            when the session has connected elsewhere.
    """

    def __init__(self, kernel: KernelManager, port: int, session: str) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[Welcome | None] = loop.create_future()
        self.channels = {
            name: MailboxChannel(self, name) for name in ("iopub", "shell", "control", "stdin")
        }
        self.can_deliver: Callable[[], bool] = lambda: True
        self.on_reply: Callable[[], object] = _ignore
        self.on_dropped: Callable[[int], object] = _ignore
        self.on_taken: Callable[[], object] = _ignore
        self._receive: Receive | None = None
        self._waiting: set[str] = set()
        self._last = 0  # the number of the newest message
        self._last_missed = 0  # the number of the newest message that is older than this connection
        self._acknowledgement: asyncio.TimerHandle | None = None
        self._attach_frames = _attach_frames(kernel.session.key, session)
        self._loop = loop
        self._socket = _socket(kernel, zmq.DEALER)
        # Reports each connection: 0MQ makes a new one after one has broken.
        self._connections = _socket(kernel, zmq.PAIR)
        address = f"inproc://{uuid.uuid4().hex}"
        self._socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._connections.connect(address)
        self._descriptors = self._socket.fileno(), self._connections.fileno()
        loop.add_reader(self._descriptors[0], self._read)
        loop.add_reader(self._descriptors[1], self._connected)
        _connect(self._socket, kernel, port)
        self._connected_before = False
        # Now, so that it goes before all requests of the client.
        self._send(*self._attach_frames)
        # 0MQ's descriptor becomes readable once for each change, and only after a look at the state before.
        loop.call_soon(self._connected)

    @property
    def awaits_reply(self) -> bool:
        return bool(self._waiting)

    @property
    def catching_up(self) -> bool:
        return self._last <= self._last_missed

    @property
    def closed(self) -> bool:
        return bool(self._socket.closed)

    def receive(self, callback: Receive | None) -> None:
        """Pass messages to `callback` from now on; None leaves them waiting."""
        self._receive = callback
        self._read_soon()

    def send(self, channel: str, frames: Sequence[Any]) -> None:
        """Send a message of the client to the kernel."""
        if channel == "shell":
            header = json.loads(bytes(frames[2]))
            if header["msg_type"].endswith("_request"):
                self._waiting.add(header["msg_id"])
        self._send(channel.encode(), *frames)

    def flush(self) -> None:
        """Read all messages that have arrived."""
        while not self.closed and self._take_batch():
            pass

    def close(self, *, for_good: bool = False) -> None:
        """Disconnect; messages from now on wait for the session, unless it is closed `for_good`."""
        if self.closed:
            return
        if self._acknowledgement is not None:
            self._acknowledgement.cancel()
            self._acknowledge()
        if for_good:
            self._send(b"detach")
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
        self._socket.disable_monitor()
        self._connections.close()
        self._socket.close()
        if not self.welcomed.done():
            self.welcomed.set_result(None)

    def _connected(self) -> None:
        with suppress(zmq.Again):
            while not self.closed:
                self._connections.recv_multipart(zmq.NOBLOCK)
                if self._connected_before:
                    self._send(*self._attach_frames)
                self._connected_before = True

    def _send(self, *frames: Any) -> None:
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        self._read_soon()

    def _read_soon(self) -> None:
        # Any other use of the socket may have cleared its descriptor.
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self.closed:
            return
        more = True  # also after an error
        try:
            more = self._take_batch()
        finally:
            if more:
                self._read_soon()

    def _take_batch(self) -> bool:
        """Read some of the messages that have arrived; return whether there may be more."""
        more = False
        for _ in range(_BATCH):
            if self.welcomed.done() and not (self._receive and self.can_deliver()):
                break
            try:
                kind, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._take_one(kind.decode("ascii", "replace"), frames)
            if self.closed:
                return False
        else:
            more = True
        return more

    def _acknowledge(self) -> None:
        self._acknowledgement = None
        if not self.closed:
            self._send(b"ack", b"%d" % self._last)

    def _take_one(self, kind: str, frames: list[bytes]) -> None:
        channel = self.channels.get(kind)
        if channel is not None:
            self._take_message(channel, int(frames[0]), frames[1:])
        elif kind == "welcome":
            content = json.loads(frames[0])
            self._last_missed = content["last"]
            if not self.welcomed.done():
                features = parse_features(content.get("features"))
                state, dropped = content["execution_state"], content["dropped"]
                self.welcomed.set_result(Welcome(state, dropped, features))
            elif content["dropped"]:
                self.on_dropped(content["dropped"])
        elif kind == "dropped":
            self.on_dropped(int(frames[0]))
        elif kind == "taken":
            self.on_taken()

    def _take_message(self, channel: MailboxChannel, number: int, message: list[bytes]) -> None:
        if self._acknowledgement is None:
            self._acknowledgement = self._loop.call_later(_ACKNOWLEDGE_SECONDS, self._acknowledge)
        if number <= self._last:  # sent again because our acknowledgement was lost
            return
        self._last = number
        if channel.channel == "shell":
            self._waiting.discard(_parent_of(message))
            self.on_reply()
        if self._receive is not None:
            self._receive(channel, message)


class MailboxChannel:
    """Implements the part of a ZMQStream that jupyter_server's websocket uses."""

    def __init__(self, connection: MailboxConnection, channel: str) -> None:
        self.channel = channel
        self._connection = connection

    def send_multipart(self, frames: Sequence[Any], *_args: Any, **_kwargs: Any) -> None:
        self._connection.send(self.channel, frames)

    def on_recv(self, callback: None) -> None:
        """Stop receiving messages."""
        self._connection.receive(callback)

    def on_recv_stream(self, callback: Receive) -> None:
        """Call `callback` with the channel and each message, of this channel and the others."""
        self._connection.receive(callback)

    def flush(self) -> None:
        """Receive all messages that have arrived."""
        self._connection.flush()

    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Close the connection of all channels."""
        self._connection.close()


def _socket(kernel: KernelManager, kind: int) -> zmq.Socket[bytes]:
    # The context's own sockets are those of zmq.asyncio, which read ahead.
    return zmq.Context.socket(kernel.context, kind, socket_class=zmq.Socket)


def _connect(sock: zmq.Socket[bytes], kernel: KernelManager, port: int) -> None:
    sock.linger = _LINGER_MILLISECONDS
    sock.sndhwm = sock.rcvhwm = 0  # the launcher limits what is not acknowledged
    sock.heartbeat_ivl = _HEARTBEAT_MILLISECONDS
    sock.heartbeat_timeout = _HEARTBEAT_TIMEOUT_MILLISECONDS
    sock.routing_id = uuid.uuid4().hex.encode()
    if kernel.curve_publickey is not None:
        sock.curve_secretkey = kernel.curve_secretkey
        sock.curve_publickey = kernel.curve_publickey
        sock.curve_serverkey = kernel.curve_publickey
    sock.connect(f"tcp://{kernel.ip}:{port}")


def _attach_frames(key: bytes, session: str) -> tuple[bytes, bytes, bytes]:
    content = json.dumps({"session": session, "features": GATEWAY_FEATURES}).encode()
    signature = hmac.new(key, b"attach" + content, "sha256").hexdigest().encode()
    return b"attach", signature, content


def _parent_of(message: Sequence[bytes]) -> str:
    delimiter = message.index(b"<IDS|MSG>")
    return str(json.loads(message[delimiter + 3]).get("msg_id", ""))


def _ignore(*_: object) -> None:
    pass
