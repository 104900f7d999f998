"""The connection between a client's websocket and its kernel.

`GatewayWebsocketConnection` can be used by plain jupyter_server and jupyter_kernel_gateway as well:
`--ServerApp.kernel_websocket_connection_class=gateway_provisioners.gateway.websocket.connection.GatewayWebsocketConnection`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from jupyter_client._version import protocol_version
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from gateway_provisioners.aio import within
from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.access import (
    access_of,
    client_of,
    ownership_of,
    session_name,
)
from gateway_provisioners.gateway.websocket.channel_output import ChannelOutput
from gateway_provisioners.gateway.websocket.client_limits import client_limit
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.kernel_writer import KernelWriter
from gateway_provisioners.gateway.websocket.losses import Losses, megabytes
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxChannel, MailboxConnection
from gateway_provisioners.gateway.websocket.outbox import Outbox, fragment_writer
from gateway_provisioners.gateway.websocket.rates import OutputRate
from gateway_provisioners.gateway.websocket.read_only_answers import ReadOnlyAnswers
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header
from gateway_provisioners.gateway.websocket.too_large import request_in
from gateway_provisioners.model.ownership import Access
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from gateway_provisioners.settings import from_env

# RFC 6455, 7.4.1, and IANA's registry: clients connect again after the first and the last.
GOING_AWAY = 1001
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
# A kernel answers within 10 ms, and its subscription needs a round trip more.
_ASK_AGAIN_SECONDS = 0.05
# A client that has sent nothing for so long is no more likely to send something now than later.
_QUIET_SECONDS = 1.0
_TOO_SLOW = "This client reads its kernel's output too slowly; what the kernel keeps comes later."


class GatewayWebsocketConnection(ZMQChannelsWebsocketConnection):
    """jupyter_server's connection, without its 40 ms delay per message, for kernels that move.

    If the kernel's launcher has a mailbox, everything goes through it, and the client misses nothing while
    it is not connected. What waits for the client, or for the kernel, is bounded by `Limits`.
    """

    output_bytes_per_second = from_env(
        "GP_OUTPUT_BYTES_PER_SECOND",
        0,
        "The most output of a kernel that is shown to a client, averaged over 3 seconds; 0: no limit.",
        unit="bytes",
    )
    output_messages_per_second = from_env(
        "GP_OUTPUT_MESSAGES_PER_SECOND",
        0,
        "The most outputs of a kernel that are shown to a client, averaged over 3 seconds; 0: no limit.",
    )

    channels: dict[str, Any]
    _mailbox: MailboxConnection | None = None
    _used_channels: tuple[str, ...] = ("iopub", "shell", "control", "stdin")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._activity = asyncio.Event()
        self._following = False
        self._is_restored = False
        self._outbox: Outbox | None = None
        self._writer: ClientWriter | None = None
        self._output: ChannelOutput | None = None
        self._kernel_writer: KernelWriter | None = None
        self._read_only_answers: ReadOnlyAnswers | None = None
        self._room = asyncio.Event()
        self._last_request: Mapping[str, Any] = {}

    @cached_property
    def _limits(self) -> Limits:
        # Stock kernel managers lack the attribute.
        return getattr(self.multi_kernel_manager, "limits", None) or Limits(parent=self)

    @property
    def access(self) -> Access:
        """The client's rights to the kernel now, which change while the client is connected."""
        return access_of(client_of(self.websocket_handler), ownership_of(self.kernel_manager))

    async def prepare(self) -> None:
        """Wait for the kernel's first answer, before the websocket is opened."""
        self.session.session = session_name(
            self.session.session,
            client_of(self.websocket_handler),
            ownership_of(self.kernel_manager),
        )
        # Upstream checks every 100 ms whether a dead kernel is alive again, and so connects before the new
        # kernel's address and keys are known.
        if wait := getattr(self.kernel_manager, "wait_alive", None):
            await within(self.kernel_info_timeout, wait())
        await super().prepare()
        # Upstream has the client wait until the kernel leaves the state "starting": it checks every 50 ms,
        # and after 500 ms asks again, in case it missed a message. A kernel that has answered has started.
        future = self._kernel_info_future  # not done if the kernel was given up on
        answered = future.done() and future.result()
        if answered and self.kernel_manager.execution_state == "starting":
            self.kernel_manager.execution_state = "idle"

    def request_kernel_info(self) -> asyncio.Future[Any]:
        """Request the kernel's info, unless it has a mailbox: then clients connect even while it is busy."""
        if self._mailbox_endpoint is None:
            asked: asyncio.Future[Any] = super().request_kernel_info()
            return asked
        self._finish_kernel_info({})
        return asyncio.wrap_future(self._kernel_info_future)

    def connect(self) -> asyncio.Future[None] | None:
        """Connect the open websocket to the kernel."""
        self._set_up()
        kept = self._kept_for_client()
        losses = getattr(kept["buffer"], "losses", None) if kept is not None else None
        self._is_restored = (
            kept is not None
            and self.multi_kernel_manager._get_changed_ports(self.kernel_id) is None
        )
        nudged: asyncio.Future[None] | None = super().connect()
        if nudged is not None and self._mailbox is None:
            self._ask_again_soon(nudged)
            if losses:
                nudged.add_done_callback(lambda _: self._report_offline_losses(losses))
        self.access_changed()  # since the request
        return nudged

    def _set_up(self) -> None:
        """Make what passes messages on, in both directions."""
        # tornado switches Nagle's algorithm on after the upgrade. Together with the client's delayed
        # acknowledgement it delays the last message of every execution by 40 ms.
        self.websocket_handler.set_nodelay(True)
        self._outbox = Outbox(fragment_writer(self.websocket_handler), self._limits)
        self._outbox.on_room = self._has_room_again
        self._outbox.on_stalled = self.send_away
        self._kernel_writer = KernelWriter(
            self.session, self._limits, self._in_transit, self._give_up_sending
        )
        hides_tracebacks = not self.multi_kernel_manager.allow_tracebacks
        self._writer = ClientWriter(
            self.kernel_id,
            self.session,
            self._outbox,
            v1=self._is_v1,
            max_bytes=self._limits.messages.from_kernel,
            client_limit=client_limit(self.websocket_handler.request.headers, self.subprotocol),
            rate=OutputRate(self.output_bytes_per_second, self.output_messages_per_second),
            traceback_words=self.kernel_manager.traceback_replacement_message
            if hides_tracebacks
            else "",
        )
        self._writer.on_replaced = self._count_replaced
        self._output = ChannelOutput(self._writer, self._outbox, self._max_unread_bytes)
        self._read_only_answers = ReadOnlyAnswers(
            self.kernel_manager, self.session, self._writer, self.kernel_info_timeout
        )

    def create_stream(self) -> None:
        """Connect to the kernel: to its mailbox if it has one, else to its channels."""
        self.session.key = self.kernel_manager.session.key
        if self._writer is not None:
            self._writer.verifies = self.kernel_manager.curve_publickey is None
        endpoint = self._mailbox_endpoint
        if endpoint is None:
            self._mailbox = None
            self._create_streams()
            return
        mailbox = MailboxConnection(
            self.kernel_manager,
            endpoint,
            self.session.session,
            self._limits,
            welcome_timeout=self.kernel_info_timeout,
        )
        mailbox.on_message = self._deliver
        mailbox.on_dropped = self._report_dropped
        mailbox.on_taken = self.websocket_handler.close
        mailbox.on_broken = self._report_broken
        mailbox.on_reply = self._activity.set
        mailbox.on_sent = self._has_left
        mailbox.give_up = self.send_away
        mailbox.can_deliver = self._can_deliver
        self._mailbox = mailbox
        self.channels = dict(mailbox.channels)

    def _create_streams(self) -> None:
        # Upstream's streams all identify themselves by the client's session. Of two streams with the same
        # identity, such as those of two gateways between which a client moves, a kernel serves the first.
        identity = uuid.uuid4().hex.encode()
        for channel in self._used_channels:
            stream = getattr(self.kernel_manager, f"connect_{channel}")(identity=identity)
            stream.channel = channel
            self.channels[channel] = stream
            if meter := getattr(stream.socket, "meter", None):
                meter.on_sent = self._has_left
                meter.on_cut = partial(self._report_cut, channel)
                meter.give_up = self.send_away

    def nudge(self) -> asyncio.Future[None]:
        """Return a future that is done when the kernel's messages are known to arrive."""
        if self._is_restored:
            # They are known to arrive, and a message that comes now must not be taken for an answer.
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        if self._mailbox is None:
            nudged: asyncio.Future[None] = super().nudge()
            return nudged
        return asyncio.ensure_future(self._wait_welcome(self._mailbox))

    def disconnect(self) -> None:
        """Disconnect from the kernel and from the client."""
        self._close_writers()
        if self._mailbox is not None:
            self._mailbox.close(for_good=not self._can_return)
            self.channels = {}
        super().disconnect()
        if self._mailbox is not None and self.kernel_id in self.multi_kernel_manager:
            self.multi_kernel_manager.stop_buffering(self.kernel_id)  # the launcher buffers

    @property
    def _can_return(self) -> bool:
        """True if the client can come back for its messages: it has a session id, and may use the kernel."""
        session_id = self.websocket_handler.get_argument("session_id", None)
        return bool(session_id) and self.access >= Access.FULL

    def _close_writers(self) -> None:
        """Write nothing more, in either direction."""
        if self._outbox is not None:
            self._outbox.close()
        if self._kernel_writer is not None:
            self._kernel_writer.close()
        if self._read_only_answers is not None:
            self._read_only_answers.close()
        self._room.set()
        self._activity.set()

    def abandon(self) -> None:
        """Forget a client that has left before it was connected, and so has nothing to disconnect."""
        if self._open_sessions.get(self.session_key) is self.websocket_handler:
            del self._open_sessions[self.session_key]
        if self.kernel_info_channel is not None and not self.kernel_info_channel.closed():
            self.kernel_info_channel.close()

    # From the client to the kernel.

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Pass a message of the client on to the kernel."""
        text = isinstance(incoming_msg, str)
        self.take(
            incoming_msg.encode() if isinstance(incoming_msg, str) else incoming_msg, text=text
        )

    def take(self, message: bytes, *, text: bool) -> None:
        """Pass a message of the client on to the kernel.

        Args:
            text: whether it was sent as text, and not as binary data.
        """
        self._activity.set()
        writer = self._kernel_writer
        if not self.channels or writer is None or writer.closed:
            return
        try:
            channel, parts = self._read(message, text=text)
        except ProtocolError as error:
            self.log.warning(
                "Kernel %s: a client sent a malformed message: %s", self.kernel_id, error
            )
            self._count_sent_away("malformed")
            self.websocket_handler.close(INVALID_DATA, f"The message is malformed: {error}"[:120])
            return
        header = parsed_header(parts[0])
        if self.access < Access.FULL:
            assert self._read_only_answers is not None  # noqa: S101 - made with the writer
            self._read_only_answers.answer(channel, header)
            return
        if channel not in self.channels:
            self.log.warning("Kernel %s: a client sent a message on no channel", self.kernel_id)
            return
        allowed = self.multi_kernel_manager.allowed_message_types
        if allowed and header.get("msg_type") not in allowed:
            self.log.warning(
                "Kernel %s: a message is of a type that is not allowed", self.kernel_id
            )
            return
        if header and "version" not in header:
            # Kernels would take the message for one of before 2015, and parts of it for others.
            header = {**header, "version": protocol_version}
            parts[0] = self.session.pack(header)
        self._last_request = header
        # Stock kernel managers, whose kernels never move, lack the attribute.
        if self._following or getattr(self.kernel_manager, "is_moving", False):
            writer.hold(channel, parts, len(message))
        else:
            writer.send(self.channels[channel], parts)

    async def wait_until_sent(self) -> None:
        """Return when the client may send more: most of what it has sent has left for the kernel."""
        if self.access < Access.FULL:
            await self._wait_for_room()
        writer = self._kernel_writer
        if writer is not None and not await writer.wait_until_sent():
            reason = (
                f"The kernel does not take what is sent to it: {megabytes(writer.waiting)} wait."
            )
            self._drop_unsent(reason, "Restart the kernel if this goes on.")

    async def _wait_for_room(self) -> None:
        """Return when the client has read most of what waits for it, so that answers cannot pile up."""
        outbox, writer = self._outbox, self._kernel_writer
        while outbox is not None and writer is not None and not writer.closed:
            self._room.clear()
            if outbox.has_room():
                return
            await self._room.wait()

    def refuse(self, message: bytes, size: int, *, text: bool) -> None:
        """Answer a message of the client that is too large.

        Args:
            message: its beginning and its end.
            size: the size of the whole.
        """
        channel, header = request_in(message, v1=self._is_v1, text=text)
        most = megabytes(self._limits.messages.to_kernel)
        reason = (
            f"A message of {megabytes(size)} was not sent to the kernel: this gateway takes at most {most}. "
            f"Ask its administrator to raise gateway.maxMessageBytes.toKernel."
        )
        self.log.warning("Kernel %s: %s", self.kernel_id, reason)
        self._count_replaced("too_large")
        if self._writer is not None:
            self._writer.answer_with_error(channel, header, reason)

    @property
    def _is_v1(self) -> bool:
        return bool(self.subprotocol == serialization.V1)

    def _read(self, message: bytes, *, text: bool) -> serialization.FromClient:
        if not self._is_v1:
            return serialization.from_json(message, text=text)
        if text:
            raise ProtocolError("it is text")
        return serialization.from_v1(message)

    @property
    def _max_unread_bytes(self) -> int:
        """The most that waits for the client of a kernel without a mailbox: one large message, and more."""
        kept = getattr(self.multi_kernel_manager, "offline_buffer_bytes", 0)
        return int(self._limits.messages.from_kernel + max(kept, self._limits.client_buffer_bytes))

    def _in_transit(self) -> int:
        if self._mailbox is not None:
            return self._mailbox.waiting_bytes
        meters = (getattr(stream.socket, "meter", None) for stream in self.channels.values())
        return sum(meter.waiting for meter in meters if meter is not None)

    def _has_left(self) -> None:
        if self._kernel_writer is not None:
            self._kernel_writer.has_left()

    def _give_up_sending(self) -> None:
        self._drop_unsent(
            "Other clients need the memory of what waits for this kernel.", "Try again later."
        )

    def _drop_unsent(self, reason: str, advice: str) -> None:
        """Disconnect a client whose messages the kernel does not take."""
        if self._kernel_writer is None or self not in self._open_sockets:
            return
        self.log.warning("Kernel %s: %s", self.kernel_id, reason)
        self._kernel_writer.close()
        self.write_stderr(
            f"{reason} The rest is dropped, and the client is disconnected. {advice}",
            self._last_request,
        )
        self._count_sent_away("unsent")
        self.websocket_handler.close(TRY_AGAIN_LATER, reason)

    # From the kernel to the client.

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Part]) -> None:
        """Pass a message of the kernel's own channels on; output that cannot wait is dropped."""
        channel = stream if isinstance(stream, str) else stream.channel
        if self._output is not None and not self._output.forward(channel, outgoing_msg):
            self.send_away()

    def _deliver(self, channel: MailboxChannel, frames: list[Part], number: int) -> bool:
        """Pass a message of the mailbox on; return whether its memory is accounted for."""
        mailbox, writer = self._mailbox, self._writer
        if mailbox is None or writer is None:
            return True
        written = partial(mailbox.delivered, number)
        return writer.forward(channel.channel, frames, written, kept=mailbox.catching_up)

    def write_stderr(self, error_message: str, parent_header: Mapping[str, Any]) -> None:
        """Write a sentence to the output of a cell."""
        if self._writer is not None:
            self._writer.say(error_message, parent_header)

    def _send_status_message(self, status: str) -> None:
        iopub = self.channels.get("iopub")
        if iopub is not None and not iopub.closed():
            iopub.flush()  # what the kernel published before comes first
        if self._writer is not None:
            self._writer.write_status(status, {})

    def send_away(self) -> None:
        """Disconnect a client that does not read, so that what waits for it takes no memory."""
        if self._outbox is None or self not in self._open_sockets:
            return
        self.log.warning(
            "Kernel %s: a client that reads too slowly is disconnected (%s wait for it)",
            self.kernel_id,
            megabytes(self._outbox.backlog),
        )
        self._outbox.close()
        if self._mailbox is not None:
            self._mailbox.close()
        self._count_sent_away("slow")
        self.websocket_handler.close(TRY_AGAIN_LATER, _TOO_SLOW)

    def _count_replaced(self, reason: str, count: int = 1) -> None:
        # Stock kernel managers have no metrics.
        if metrics := getattr(self.multi_kernel_manager, "metrics", None):
            metrics.messages_replaced(self.kernel_manager.kernel_name, reason, count)

    def _count_sent_away(self, reason: str) -> None:
        if metrics := getattr(self.multi_kernel_manager, "metrics", None):
            metrics.client_sent_away(self.kernel_manager.kernel_name, reason)

    @property
    def is_reading(self) -> bool:
        """True while the client is known to live without a ping: it reads what waits for it."""
        return bool(self._outbox is not None and self._outbox.backlog)

    def _has_room_again(self) -> None:
        self._room.set()
        if self._output is not None:
            self._output.report_losses()
        if self._mailbox is not None:
            self._mailbox.resume()

    def _can_deliver(self) -> bool:
        connection = self.websocket_handler.ws_connection
        is_open = connection is not None and not connection.is_closing()
        return bool(is_open and self._outbox is not None and self._outbox.has_room())

    def follow_kernel(self) -> None:
        """Connect to the kernel after a restart moved it; the client does not notice."""
        # Upstream's nudge would take a reply to the client's request for one to its own.
        self._following = True
        for stream in self.channels.values():
            if not stream.closed():
                stream.on_recv(None)
                stream.close()
        self.create_stream()
        if self._read_only_answers is not None:
            self._read_only_answers.kernel_moved()
        nudged = self.nudge()
        if self._mailbox is None:
            self._ask_again_soon(nudged)
        nudged.add_done_callback(self._subscribe)

    def _ask_again_soon(self, nudged: asyncio.Future[None]) -> None:
        """Send a second request, in case the subscription came too late for the kernel's first answer.

        Upstream sends the kernel a request to see that its messages arrive. An answer that the kernel
        publishes before the subscription has reached it is lost; upstream asks again only after 500 ms.
        That happens in one of a hundred connections, and more often on a busy machine.
        """

        def ask() -> None:
            channel = self.kernel_manager.connect_control()
            self.session.send(channel, "kernel_info_request")
            nudged.add_done_callback(lambda _: channel.close())

        timer = asyncio.get_running_loop().call_later(_ASK_AGAIN_SECONDS, ask)
        nudged.add_done_callback(lambda _: timer.cancel())

    def _subscribe(self, _nudged: asyncio.Future[None]) -> None:
        if self in self._open_sockets:
            for stream in self.channels.values():
                stream.on_recv_stream(self.handle_outgoing_message)
            if self._following and self._mailbox is not None:
                # The kernel reported that it was idle before this client's session had a mailbox there.
                self._send_status_message(self.kernel_manager.execution_state)
            self._following = False
            if self._kernel_writer is not None:
                self._kernel_writer.send_held(self.channels)

    def _kept_for_client(self) -> Mapping[str, Any] | None:
        """Return the channels and messages that jupyter_server kept since the client's last connection."""
        kept: Mapping[str, Any] | None
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)
        return kept if kept is not None and kept["session_key"] == self.session_key else None

    def _report_offline_losses(self, losses: Losses) -> None:
        if self in self._open_sockets:
            self._count_replaced("unread", losses.messages)
            losses.report(self.write_stderr, "no client was connected, and more came than is kept.")

    @property
    def _mailbox_endpoint(self) -> MailboxEndpoint | None:
        provisioner = self.kernel_manager.provisioner
        return provisioner.mailbox if isinstance(provisioner, GatewayContract) else None

    async def _wait_welcome(self, mailbox: MailboxConnection) -> None:
        welcome = await mailbox.welcomed
        if welcome is None:  # closed meanwhile
            return
        if self.kernel_manager.execution_state in (None, "unknown", "starting"):
            self.kernel_manager.execution_state = welcome.execution_state
        if welcome.dropped:
            self._report_dropped(welcome.dropped)

    def _report_dropped(self, count: int) -> None:
        if self in self._open_sockets:
            self._count_replaced("unread", count)
            self.write_stderr(
                f"The kernel sent more than is kept for a client that is away or slow: {count} messages are "
                f"lost.",
                self._last_request,
            )

    def _report_cut(self, channel: str) -> None:
        self._count_replaced("too_large")
        most = megabytes(self._limits.messages.from_kernel)
        self.write_stderr(
            f"The kernel sent a message that is larger than the {most} that this gateway takes, and perhaps "
            f"others, which are lost ({channel}). Ask its administrator to raise "
            f"gateway.maxMessageBytes.fromKernel.",
            self._last_request,
        )
        if channel == "iopub" and self._output is not None:
            self._output.end_cell()

    def _report_broken(self, reason: str) -> None:
        self._count_sent_away("launcher")
        self.write_stderr(
            f"The gateway has disconnected the kernel: {reason}. Restart the kernel.",
            self._last_request,
        )
        self.websocket_handler.close(
            GOING_AWAY, "The kernel's launcher does not speak the protocol."
        )

    @classmethod
    def of_kernel(cls, kernel: Any) -> list[GatewayWebsocketConnection]:
        """Return the open connections to one kernel."""
        return [
            connection
            for connection in list(cls._open_sockets)
            if isinstance(connection, cls) and connection.kernel_manager is kernel
        ]

    def access_changed(self) -> None:
        """Disconnect a client that may not use the kernel any longer.

        Called when the kernel's owner or shares have changed, or the client's groups. Whether a client may
        send something is looked up at each message.
        """
        if self.access == Access.NONE:
            self.expel("This kernel is no longer shared with you.")

    def expel(self, reason: str) -> None:
        """Disconnect a client at once, with nothing more of what waits for it.

        Args:
            reason: at most 123 bytes, for the client.
        """
        if self not in self._open_sockets:
            return
        self._close_writers()
        if self._mailbox is not None:
            self._mailbox.close(for_good=not self._can_return)
        self.websocket_handler.close(POLICY_VIOLATION, reason)

    def report_end(self) -> None:
        """Report the kernel as dead to the client, and close the websocket."""
        self.on_restart_failed()
        self.websocket_handler.close()

    def request_reconnect(self, reason: str) -> None:
        """Begin to close the websocket so that the client connects again."""
        self.websocket_handler.close(GOING_AWAY, reason)

    async def close_for_reconnect(self, reason: str, quiet_timeout: float) -> None:
        """Close the websocket so that the client connects again; return once it is closed.

        Args:
            reason: at most 123 bytes, for the client.
            quiet_timeout: the most seconds to wait until the client is quiet: stock clients lose what they
                send between the end of a connection and the next one.
        """
        if self._mailbox is not None and not self._mailbox.welcomed.done():
            self._mailbox.close()  # tornado reads nothing of the client while the websocket is opened
        with suppress(asyncio.TimeoutError):
            await within(quiet_timeout, self._wait_quiet())
        self.request_reconnect(reason)
        await asyncio.wrap_future(self._close_future)

    async def _wait_quiet(self) -> None:
        """Wait until the client awaits a reply that the mailbox keeps, or has sent nothing for a while."""
        kernel = self.kernel_manager
        kernel.observe(self._on_state_change, "execution_state")
        try:
            while self in self._open_sockets:
                if self._mailbox is not None and self._mailbox.awaits_reply:
                    return
                self._activity.clear()
                # Without a mailbox, the rest of a busy kernel's output would be lost.
                busy = self._mailbox is None and kernel.execution_state == "busy"
                try:
                    await within(None if busy else _QUIET_SECONDS, self._activity.wait())
                except asyncio.TimeoutError:
                    return
        finally:
            kernel.unobserve(self._on_state_change, "execution_state")

    def _on_state_change(self, _change: Any) -> None:
        self._activity.set()
