"""The channels that clients see, in front of the kernel's own (docs/output-while-away.md).

The kernel listens on sockets in a directory of its own. The relay passes messages on in both
directions: on Jupyter's channels for any client, and on the mailbox port for clients that may go away
and come back (protocol/SPEC.md). It reads a message to learn what the kernel is doing, and what it must put
in the place of one that is too large; all others are passed on as they are.
"""

from __future__ import annotations

import hmac
import json
import os
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import zmq

from kernel_launcher.accepted import LONGEST_ID, Confirmations, is_offered
from kernel_launcher.errors import LAUNCH_FAILED, LaunchError
from kernel_launcher.execution import DELIMITER, ExecutionState
from kernel_launcher.mailbox import FEATURES, Mailbox
from kernel_launcher.messages import (
    Messages,
    cost_of,
    id_of,
    megabytes,
    parent_of,
    printed_by,
    session_that_waits_for,
    type_of,
)
from kernel_launcher.ports import ANY_ADDRESS, ANY_ADDRESS_OF_BOTH
from kernel_launcher.spool import Spool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# Those of the kernel's channels, and the mailbox's.
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "mailbox_port")
REQUEST_CHANNELS = ("shell", "stdin", "control", "hb")
# The kernel has one client, the relay. The first frame of a request, which comes back with its reply,
# is its origin: a connection of the channel itself or a session of the mailbox.
IDENTITY = b"relay"
FROM_CHANNEL = b"c"
FROM_MAILBOX = b"m"
# How many messages of one socket are passed on before it is the next one's turn.
TURN = 64
SECONDS_TO_CONNECT = 10.0
MILLISECONDS_TO_WELCOME = 100
LINGER_MILLISECONDS = 1000
# The last messages of a kernel that has ended have arrived when none has come for so long.
QUIET_MILLISECONDS = 20
DRAIN_SECONDS = 2.0
# The connection of a gateway whose node is lost is closed after this time. It is not shorter because a
# heartbeat waits behind the messages that a gateway leaves unread while its client is slow.
HEARTBEAT_MILLISECONDS = 60_000
HEARTBEAT_TIMEOUT_MILLISECONDS = 600_000
# Text that is too large for one message goes in pieces of so many characters, which have up to 12 bytes
# each: every piece has less than 1 MiB, the smallest limit of a gateway.
PIECE = 2**16
# 0MQ keeps up to 1000 messages for each subscriber of iopub, and of those with large frames so many of the
# largest size. (pyzmq copies smaller frames.)
LARGE_FRAME = 2**16
LARGE_MESSAGES = 4
# Messages that wait for the relay, each of any size. The kernel waits when there are more.
MESSAGES_FROM_KERNEL = 8
LONGEST_SESSION = 256


class Relay:
    """Relays messages between a kernel and its clients until `stop`, in a thread of its own.

    Args:
        info: the kernel's connection info, and the Curve keys that its clients use.
        reserved: sockets that hold the ports of PORTS, in that order; closed here.
        mailbox_bytes: how much is kept in memory for clients that are away.
        mailbox_disk_bytes: how much more is kept on disk.
        max_message_bytes: larger messages of the kernel are replaced by a sentence.
        mailbox_key: signs attachments to the mailbox.
        failed: called if the relay fails, in its thread.

    Raises:
        LaunchError: a port cannot be bound, or the kernel cannot be reached.
    """

    def __init__(
        self,
        info: Mapping[str, Any],
        reserved: Sequence[socket.socket],
        mailbox_bytes: int,
        mailbox_disk_bytes: int,
        max_message_bytes: int,
        mailbox_key: bytes,
        failed: Callable[[LaunchError], None],
    ) -> None:
        self._info = info
        self._failed = failed
        self._max_message_bytes = max_message_bytes
        self._mailbox_key = mailbox_key
        self._messages = Messages(info["key"])
        self._context = zmq.Context()
        self._execution = ExecutionState()
        self._poller = zmq.Poller()
        self._large: deque[tuple[zmq.MessageTracker, int]] = deque()  # on iopub, and their sizes
        self._large_bytes = 0
        self._handlers: dict[object, Callable[[], None]] = {}
        self._to_kernel: dict[bytes, zmq.Socket[bytes]] = {}
        self._ports = {
            name: sock.getsockname()[1] for name, sock in zip(PORTS, reserved, strict=True)
        }
        self._dual = reserved[0].getsockname()[0] == ANY_ADDRESS_OF_BOTH
        for channel in REQUEST_CHANNELS:
            self._relay_requests(channel)
        self._from_kernel = self._socket_to_kernel(zmq.SUB)
        self._from_kernel.subscribe(b"")
        self._iopub = self._bind(zmq.XPUB, "iopub_port")
        self._mailbox_socket = self._bind(zmq.ROUTER, "mailbox_port")
        self._mailbox_socket.router_mandatory = True
        spool = Spool(mailbox_disk_bytes)
        self._mailbox = Mailbox(mailbox_bytes, spool, self._send_to, self._lost)
        self._handle(self._from_kernel, self._publish)
        self._handle(self._iopub, self._welcome_subscribers)
        self._handle(self._mailbox_socket, self._serve_mailbox)
        self._stopping, self._stop = os.pipe()
        self._handle(self._stopping, lambda: None)
        for sock in reserved:
            sock.close()
        self._subscribe_to_kernel()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def connection_info(self) -> dict[str, Any]:
        """The connection info for clients."""
        address = {"ip": ANY_ADDRESS, "transport": "tcp"}
        return {**self._info, **self._ports, **address, "features": FEATURES}

    @property
    def execution_state(self) -> str:
        """The kernel's state: busy or idle."""
        return self._execution.value

    def stop(self) -> None:
        """Pass on the kernel's last messages, and end."""
        os.write(self._stop, b"\0")
        self._thread.join()

    # The sockets.

    def _bind(self, kind: int, port_name: str) -> zmq.Socket[bytes]:
        sock = self._context.socket(kind)
        sock.linger = LINGER_MILLISECONDS
        if "curve_secretkey" in self._info:
            sock.curve_secretkey = self._info["curve_secretkey"].encode()
            sock.curve_publickey = self._info["curve_publickey"].encode()
            sock.curve_server = True
        if kind == zmq.ROUTER:
            # A client may reconnect before its old connection has ended.
            sock.router_handover = True
        if port_name == "mailbox_port":
            sock.sndhwm = 0  # the mailbox has a limit of its own
            sock.heartbeat_ivl = HEARTBEAT_MILLISECONDS
            sock.heartbeat_timeout = HEARTBEAT_TIMEOUT_MILLISECONDS
        port = self._ports[port_name]
        sock.ipv6 = self._dual
        any_address = f"[{ANY_ADDRESS_OF_BOTH}]" if self._dual else ANY_ADDRESS
        try:
            sock.bind(f"tcp://{any_address}:{port}")
        except zmq.ZMQError as error:
            message = f"port {port} for the kernel's clients cannot be bound: {error}"
            raise LaunchError(LAUNCH_FAILED, message) from error
        return sock

    def _socket_to_kernel(self, kind: int) -> zmq.Socket[bytes]:
        sock = self._context.socket(kind)
        sock.linger = 0
        # Nothing is dropped between the kernel and the relay: requests wait here until the kernel reads
        # them, and what it publishes waits there until the relay has read the messages before it.
        sock.sndhwm = 0
        sock.rcvhwm = MESSAGES_FROM_KERNEL
        return sock

    def _connect(self, sock: zmq.Socket[bytes], channel: str) -> None:
        sock.connect(f"ipc://{self._info['ip']}-{self._info[f'{channel}_port']}")

    def _subscribe_to_kernel(self) -> None:
        """Connect, and wait until the kernel's published messages arrive here."""
        monitor = self._from_kernel.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._connect(self._from_kernel, "iopub")
        connected = monitor.poll(int(SECONDS_TO_CONNECT * 1000))
        self._from_kernel.disable_monitor()
        monitor.close()
        if not connected:
            raise LaunchError(LAUNCH_FAILED, "the kernel's own channels cannot be reached")
        # ipykernel 7 welcomes a subscriber at once, older ones do not: then this times out.
        self._from_kernel.poll(MILLISECONDS_TO_WELCOME)

    # The loop.

    def _handle(self, source: Any, handler: Callable[[], None]) -> None:
        self._poller.register(source, zmq.POLLIN)
        self._handlers[source] = handler

    def _run(self) -> None:
        try:
            ready: dict[Any, int] = {}
            while self._stopping not in ready:
                ready = dict(self._poller.poll())
                for source in ready:
                    self._handlers[source]()
            self._drain()
        except Exception as error:  # noqa: BLE001  the kernel cannot be reached then, and must end
            message = f"the relay of the kernel's channels has failed: {error!r}"
            self._failed(LaunchError(LAUNCH_FAILED, message))
        finally:
            self._context.destroy()

    def _drain(self) -> None:
        # Requests are no longer read, but acknowledgements are.
        still_read = (*self._to_kernel.values(), self._from_kernel, self._mailbox_socket)
        for source in list(self._handlers):
            if source not in still_read:
                self._poller.unregister(source)
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            ready = self._poller.poll(QUIET_MILLISECONDS)
            for source, _ in ready:
                self._handlers[source]()
            if not ready and not self._mailbox.on_its_way:
                return

    # Jupyter's channels.

    def _relay_requests(self, channel: str) -> None:
        clients = self._bind(zmq.ROUTER, f"{channel}_port")
        kernel = self._socket_to_kernel(zmq.DEALER)
        kernel.routing_id = IDENTITY
        self._connect(kernel, channel)
        self._to_kernel[channel.encode()] = kernel
        self._handle(clients, partial(self._forward_requests, clients, kernel))
        self._handle(kernel, partial(self._forward_replies, channel.encode(), kernel, clients))

    def _forward_requests(self, clients: zmq.Socket[bytes], kernel: zmq.Socket[bytes]) -> None:
        for frames in _received(clients):
            kernel.send_multipart([FROM_CHANNEL, *frames])

    def _forward_replies(
        self, channel: bytes, kernel: zmq.Socket[bytes], clients: zmq.Socket[bytes]
    ) -> None:
        for origin, *received in _received(kernel):
            frames = self._bounded_reply(received)
            if not frames:
                continue
            if origin == FROM_CHANNEL:
                clients.send_multipart(frames)
            elif origin == FROM_MAILBOX:
                self._mailbox.post(channel, frames[1:], frames[0])

    def _publish(self) -> None:
        for received in _received(self._from_kernel):
            self._execution.follow(received)
            for frames in self._bounded_output(received):
                self._publish_on_channel(frames)
                self._mailbox.publish(frames, session_that_waits_for(frames))

    def _publish_on_channel(self, frames: list[bytes]) -> None:
        """Send a message to the channel's subscribers, unless 0MQ still has many large ones for them."""
        while self._large and self._large[0][0].done:
            self._large_bytes -= self._large.popleft()[1]
        size = sum(len(frame) for frame in frames if len(frame) >= LARGE_FRAME)
        if size and self._large_bytes + size > LARGE_MESSAGES * self._max_message_bytes:
            frames, size = self._lost(parent_of(frames), 1, size), 0
        if not size:
            self._iopub.send_multipart(frames)
            return
        last = len(frames) - 1
        sent = [
            self._iopub.send(frame, zmq.SNDMORE if n < last else 0, copy=False, track=True)
            for n, frame in enumerate(frames)
        ]
        self._large.append((zmq.MessageTracker(*sent), size))
        self._large_bytes += size

    def _welcome_subscribers(self) -> None:
        for event, *_ in _received(self._iopub):
            if event[:1] == b"\1":
                self._iopub.send_multipart(self._iopub_welcome(event[1:]))

    def _iopub_welcome(self, topic: bytes) -> list[bytes]:
        """Return ipykernel 7's welcome to a new subscriber: the kernel welcomes only the relay."""
        content = {"subscription": topic.decode(errors="replace")}
        return [*filter(None, [topic]), *self._messages.build("iopub_welcome", content)]

    # Messages that are too large, or too many.

    def _bounded_output(self, frames: list[bytes]) -> Iterable[list[bytes]]:
        """Return a published message; or what it prints, in pieces; or a sentence in its place."""
        size = cost_of(frames)
        if size <= self._max_message_bytes:
            return [frames]
        if printed := printed_by(frames):
            return (
                self._messages.output(
                    printed.text[start : start + PIECE], parent_of(frames), printed.name
                )
                for start in range(0, len(printed.text), PIECE)
            )
        return [self._messages.output(f"{self._too_large(size)}\n", parent_of(frames))]

    def _bounded_reply(self, frames: list[bytes]) -> list[bytes]:
        """Return a reply or a request of the kernel, or an error in its place."""
        size = cost_of(frames)
        if size <= self._max_message_bytes:
            return frames
        reason = self._too_large(size)
        parent, kind = parent_of(frames), type_of(frames)
        if kind == "input_request":
            # It is asked for all the same: the cell waits for the answer.
            content: dict[str, Any] = {"prompt": reason, "password": False}
        else:
            content = {"status": "error", "ename": "MessageTooLarge", "evalue": reason}
            content["traceback"] = [reason]
        start = frames.index(DELIMITER) if DELIMITER in frames[:16] else 0
        return [*frames[:start], *self._messages.build(kind, content, parent)]

    def _too_large(self, size: int) -> str:
        most = megabytes(self._max_message_bytes)
        return (
            f"The kernel sent {megabytes(size)} in one message, which are not shown: at most {most} are "
            f"allowed. Ask the gateway's administrator to raise gateway.maxMessageBytes.fromKernel."
        )

    def _lost(self, parent: bytes, messages: int, size: int) -> list[bytes]:
        """Return the message about what the mailbox had to drop."""
        noun = "message" if messages == 1 else "messages"
        return self._messages.output(
            f"{messages} {noun} of this cell ({megabytes(size)}) were dropped: the kernel sent more than "
            "is kept for a client that is away or reads slowly (KERNEL_MAILBOX_DISK_BYTES).\n",
            parent,
        )

    # The mailbox port.

    def _send_to(self, route: bytes, frames: Sequence[bytes]) -> bool:
        try:
            self._mailbox_socket.send_multipart([route, *frames])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def _serve_mailbox(self) -> None:
        confirmations = Confirmations()
        for route, kind, *frames in _received(self._mailbox_socket):
            if kind in self._to_kernel:
                session = self._mailbox.session_of(route)
                if session is not None and self._is_new(route, frames, confirmations):
                    self._to_kernel[kind].send_multipart([FROM_MAILBOX, session, *frames])
            elif kind == b"ack" and frames and frames[0][:20].isdigit():
                self._mailbox.acknowledge(route, int(frames[0][:20]))
            elif kind == b"attach":
                self._attach(route, frames)
            elif kind == b"detach":
                self._mailbox.detach(route)
        for route, confirmation in confirmations.messages():
            self._send_to(route, confirmation)

    def _is_new(self, route: bytes, frames: Sequence[bytes], confirmations: Confirmations) -> bool:
        """Return whether the kernel has not got a request before; note what to confirm."""
        if not self._mailbox.confirms(route):
            return True
        request = id_of(frames)
        if not 0 < len(request) <= LONGEST_ID:
            return True
        confirmations.add(route, request)
        return self._mailbox.accept(route, request)

    def _attach(self, route: bytes, frames: Sequence[bytes]) -> None:
        content = self._authenticated(frames)
        session = content.get("session")
        if not isinstance(session, str):
            return
        encoded = session.encode(errors="replace")
        if 0 < len(encoded) <= LONGEST_SESSION:
            confirms = is_offered(content.get("features"))
            self._mailbox.attach(encoded, route, self.execution_state, confirms=confirms)

    def _authenticated(self, frames: Sequence[bytes]) -> Mapping[str, Any]:
        """Return the content of an attachment; an empty one if its signature is wrong."""
        if len(frames) != 2:
            return {}
        signature = hmac.new(self._mailbox_key, b"attach" + frames[1], "sha256").hexdigest()
        if not hmac.compare_digest(frames[0], signature.encode()):
            return {}
        try:
            content = json.loads(frames[1])
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


def _received(sock: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    """Yield the messages that have arrived, up to a limit, so that other sockets have their turn."""
    for _ in range(TURN):
        try:
            yield sock.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
