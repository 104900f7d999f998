"""The client of the mailbox in a kernel's launcher (launchers/protocol/SPEC.md)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import zmq
from jupyter_client.manager import KernelManager

from gateway_provisioners.aio import call_later
from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.channels.metered import MeteredConnection
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.acknowledgements import Acknowledgements
from gateway_provisioners.gateway.websocket.mailbox_protocol import (
    Frame,
    Welcome,
    attach_frames,
    one_of,
    parse_accepted,
    parse_number,
    parse_welcome,
)
from gateway_provisioners.model.addresses import in_url
from gateway_provisioners.model.features import ACCEPTED, GATEWAY_FEATURES
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint

_log = logging.getLogger(__name__)

# What is read before other tasks have their turn on the event loop.
_BATCH_MESSAGES = 64
_BATCH_BYTES = 256 * 1024
# The same as that of jupyter_client's channels.
_LINGER_MILLISECONDS = 1000
# Larger frames are not copied out of 0MQ's memory.
_COPIED_BYTES = 64 * 1024
# More than a mailbox keeps by default, on its disk and in its memory.
_MOST_KEPT_BYTES = 1024 * 2**20
# Numbers have gaps: this many in a row are skipped to get past a message that is too large.
_MOST_SKIPPED = 16

Receive = Callable[["MailboxChannel", list[Frame], int], bool]


class MailboxConnection:
    """Receives all messages of a kernel for a client's session, from where it last left off.

    Args:
        kernel: has the address and the keys.
        endpoint: the mailbox.
        session: the client's session id.
        limits: bounds what is on its way.
        welcome_timeout: seconds that the launcher has for its first message.
        confirms: whether the client asks for confirmations of its requests.

    Attributes:
        welcomed: the launcher's first message; None if the connection was closed before it came.
        channels: replace the streams of Jupyter's channels.
        on_message: called with the channel, the frames and the number of each message. It returns whether it
            accounts for the message's memory; otherwise this connection does until the message is `written`.
        can_deliver: called before each message; one that cannot be delivered is not read, and waits in the
            kernel's pod. `resume` reads on.
        on_welcomed_again: called with the launcher's welcome to each later connection of 0MQ.
        on_accepted: called with the ids of requests that the launcher has handed on.
        on_dropped, on_taken: called when that many messages are lost, and when the session has connected
            elsewhere.
        on_broken: called with a reason when the launcher does not speak the protocol; the connection is
            closed then.
        on_sent: called when bytes have left for the kernel.
        give_up: called when others have waited too long for the memory that this connection holds.
    """

    def __init__(
        self,
        kernel: KernelManager,
        endpoint: MailboxEndpoint,
        session: str,
        limits: Limits,
        *,
        welcome_timeout: float,
        confirms: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[Welcome | None] = loop.create_future()
        self.channels = {
            name: MailboxChannel(self, name) for name in ("iopub", "shell", "control", "stdin")
        }
        self.on_message: Receive = lambda *_: True
        self.can_deliver: Callable[[], bool] = lambda: True
        self.on_welcomed_again: Callable[[Welcome], object] = _ignore
        self.on_accepted: Callable[[list[str]], object] = _ignore
        self.on_dropped: Callable[[int], object] = _ignore
        self.on_taken: Callable[[], object] = _ignore
        self.on_broken: Callable[[str], object] = _ignore
        self.on_sent: Callable[[], object] = _ignore
        self.give_up: Callable[[], object] = _ignore
        self._is_receiving = False
        self._last = 0  # the number of the newest message
        self._last_missed = 0  # the number of the newest message that is older than this connection
        self._kept_bytes = 0  # of the messages that are older
        self._written = 0
        self._unwritten: dict[int, list[Frame]] = {}
        self._acknowledgements = Acknowledgements(self._acknowledge)
        self._cut_at = -1
        self._skipped = 0
        features = (*GATEWAY_FEATURES, ACCEPTED) if confirms else GATEWAY_FEATURES
        self._attach_frames = attach_frames(endpoint.key, session, features)
        self._loop = loop
        encrypted = kernel.curve_publickey is not None
        self._meter = MeteredConnection(kernel.ip, endpoint.port, limits, encrypted=encrypted)
        self._meter.is_starved = self._is_starved
        self._meter.give_up = lambda: self.give_up()  # noqa: PLW0108 - set later
        self._meter.on_cut = self._was_cut
        self._meter.on_ended = lambda: self._break("it does not speak 0MQ")
        self._meter.on_sent = lambda: self.on_sent()  # noqa: PLW0108
        self._name = f"{in_url(kernel.ip)}:{endpoint.port}"
        self._socket = _socket(kernel, zmq.DEALER)
        # Reports each connection: 0MQ makes a new one after one has broken.
        self._connections = _socket(kernel, zmq.PAIR)
        address = f"inproc://{uuid.uuid4().hex}"
        self._socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._connections.connect(address)
        self._descriptors = self._socket.fileno(), self._connections.fileno()
        loop.add_reader(self._descriptors[0], self._read)
        loop.add_reader(self._descriptors[1], self._connected)
        _configure(self._socket, kernel)
        self._socket.connect(self._meter.endpoint)
        self._welcome_timer = call_later(
            welcome_timeout, self._break, "its mailbox does not answer"
        )
        self._connected_before = False
        # Now, so that it goes before all requests of the client.
        self._send(*self._attach_frames)
        # 0MQ's descriptor becomes readable once for each change, and only after a look at the state before.
        loop.call_soon(self._connected)

    @property
    def catching_up(self) -> bool:
        """True if the last message is one that was kept before this connection."""
        return self._last <= self._last_missed and self._kept_bytes <= _MOST_KEPT_BYTES

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes that were sent and have not left for the kernel."""
        return self._meter.waiting

    @property
    def closed(self) -> bool:
        return bool(self._socket.closed)

    def receive(self, *, on: bool = True) -> None:
        """Pass messages to `on_message` from now on, or leave them waiting."""
        self._is_receiving = on
        self.resume()

    def resume(self) -> None:
        """Read on, if messages can be delivered again."""
        self._read_soon()
        self._meter.resume()

    def written(self, number: int) -> None:
        """Note that the messages up to this one wait here no longer: they were written to the client."""
        for one in list(self._unwritten):
            if one > number:
                break
            self._meter.consumed(self._unwritten.pop(one))
        self._written = max(self._written, number)

    def delivered(self, number: int) -> None:
        """Acknowledge the messages up to this one: they have reached the client."""
        if not self.closed:
            self._acknowledgements.delivered(number)

    def send(self, channel: str, frames: Sequence[Any]) -> None:
        """Send a message of the client to the kernel; a closed connection drops it."""
        if self.closed:
            return
        self._send(channel.encode(), *frames)

    def flush(self) -> None:
        """Read all messages that have arrived and can be delivered."""
        while self._take_batch():
            pass

    def close(self, *, for_good: bool = False) -> None:
        """Disconnect; messages from now on wait for the session, unless it is closed `for_good`."""
        if self.closed:
            return
        self._welcome_timer.cancel()
        self._acknowledgements.flush()
        if for_good:
            self._send(b"detach")
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
        self._socket.disable_monitor()
        self._connections.close()
        self._socket.close()
        self._meter.close()
        self._unwritten.clear()
        if not self.welcomed.done():
            self.welcomed.set_result(None)

    def _is_starved(self) -> bool:
        if self.closed or not self._wants_message():
            return False
        if int(self._socket.EVENTS) & zmq.POLLIN:
            self._read_soon()  # the look has cleared the descriptor
            return False
        return True

    def _wants_message(self) -> bool:
        return not self.welcomed.done() or (self._is_receiving and self.can_deliver())

    def _connected(self) -> None:
        with suppress(zmq.Again):
            while not self.closed:
                self._connections.recv_multipart(zmq.NOBLOCK)
                if self._connected_before:
                    self._send(*self._attach_frames)
                    if self._skipped:
                        self._send(b"ack", b"%d" % self._last)
                self._connected_before = True

    def _was_cut(self) -> None:
        """Get past a message that is too large: an older launcher would send it again and again."""
        if not self.welcomed.done():
            self._break("it does not begin with a welcome")
            return
        if self._cut_at != self._last:
            self._cut_at = self._last
            return
        if self._skipped == _MOST_SKIPPED:
            self._break("it sends a message that is too large again and again")
            return
        if not self._skipped:
            self.on_dropped(1)
        self._skipped += 1
        self._last += 1
        self._cut_at = self._last

    def _send(self, *frames: Any) -> None:
        with suppress(zmq.Again):  # 0MQ has ended the connection, which is about to be noticed
            self._socket.send_multipart(frames, zmq.NOBLOCK)
            self._meter.sent(frames)
        self._read_soon()

    def _read_soon(self) -> None:
        # Any other use of the socket may have cleared its descriptor.
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        more = True  # also after an error
        try:
            more = self._take_batch()
        finally:
            if more:
                self._read_soon()

    def _break(self, reason: str) -> None:
        _log.warning("The mailbox at %s was disconnected: %s", self._name, reason)
        self.close()
        self.on_broken(reason)

    def _take_batch(self) -> bool:
        """Read some of the messages that have arrived; return whether there may be more."""
        taken = 0
        for _ in range(_BATCH_MESSAGES):
            if self.closed:
                return False
            if not self._wants_message():
                # A look clears the descriptor: the event loop would call again and again.
                self._socket.get(zmq.EVENTS)
                return False
            try:
                received = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
            frames = [_content(frame) for frame in received]
            kept = False
            try:
                kept = self._take_one(frames)
            except ProtocolError as error:
                self._break(str(error))
                return False
            finally:
                if not kept:
                    self._meter.consumed(frames)
            taken += sum(map(len, frames))
            if taken > _BATCH_BYTES:
                break
        return True

    def _acknowledge(self, number: int) -> None:
        if not self.closed:
            self._send(b"ack", b"%d" % number)

    def _take_one(self, frames: list[Frame]) -> bool:
        """Process a message; return whether its memory is still on the connection's account."""
        kind = bytes(frames[0][:16]).decode("ascii", "replace")
        if channel := self.channels.get(kind):
            return self._take_message(channel, frames)
        if kind == "welcome":
            self._take_welcome(parse_welcome(frames))
        elif kind == ACCEPTED:
            self.on_accepted(parse_accepted(frames))
        elif kind == "dropped":
            self.on_dropped(parse_number(one_of(frames)))
        elif kind == "taken":
            self.on_taken()
        return False

    def _take_welcome(self, welcome: Welcome) -> None:
        self._last_missed = welcome.last
        if not self.welcomed.done():
            self._welcome_timer.cancel()
            self.welcomed.set_result(welcome)
            return
        self.on_welcomed_again(welcome)
        if welcome.dropped:
            self.on_dropped(welcome.dropped)

    def _take_message(self, channel: MailboxChannel, frames: list[Frame]) -> bool:
        if len(frames) < 3:
            raise ProtocolError("a message has too few frames")
        number, message = parse_number(frames[1]), frames[2:]
        if number <= self._last:  # sent again because our acknowledgement was lost
            self.delivered(self._acknowledgements.newest)
            return False
        self._last = number
        self._skipped = 0
        size = sum(map(len, message))
        self._acknowledgements.received(size)
        if number <= self._last_missed:
            self._kept_bytes += size
        if self.on_message(channel, message, number):
            return False
        if number <= self._written:
            return False
        self._unwritten[number] = frames
        return True


class MailboxChannel:
    """Implements the part of a ZMQStream that jupyter_server's websocket uses."""

    def __init__(self, connection: MailboxConnection, channel: str) -> None:
        self.channel = channel
        self._connection = connection

    def send_multipart(self, frames: Sequence[Any], *_args: Any, **_kwargs: Any) -> None:
        self._connection.send(self.channel, frames)

    def on_recv(self, _callback: None) -> None:
        """Stop receiving messages."""
        self._connection.receive(on=False)

    def on_recv_stream(self, _callback: object) -> None:
        """Receive messages, of this channel and the others, which go to the connection's `on_message`."""
        self._connection.receive()

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


def _configure(sock: zmq.Socket[bytes], kernel: KernelManager) -> None:
    sock.linger = _LINGER_MILLISECONDS
    sock.sndhwm = sock.rcvhwm = 0  # the meter bounds bytes, in both directions
    # 0MQ ends a connection then only if it makes no sense of it.
    sock.handshake_ivl = 0
    sock.routing_id = uuid.uuid4().hex.encode()
    if kernel.curve_publickey is not None:
        sock.curve_secretkey = kernel.curve_secretkey
        sock.curve_publickey = kernel.curve_publickey
        sock.curve_serverkey = kernel.curve_publickey


def _content(frame: zmq.Frame) -> Frame:
    return frame.bytes if len(frame) <= _COPIED_BYTES else frame.buffer


def _ignore(*_: object) -> None:
    pass
