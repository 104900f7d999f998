"""The connection between a client's websocket and its kernel.

`GatewayWebsocketConnection` can be used by plain jupyter_server and jupyter_kernel_gateway as well:
`--ServerApp.kernel_websocket_connection_class=gateway_provisioners.gateway.websocket.connection.GatewayWebsocketConnection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from gateway_provisioners.aio import within
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.access import (
    access_of,
    client_of,
    ownership_of,
    session_name,
)
from gateway_provisioners.gateway.websocket.arrival import Arrival, wait_followed
from gateway_provisioners.gateway.websocket.client_activity import ClientActivity
from gateway_provisioners.gateway.websocket.client_input import ClientInput
from gateway_provisioners.gateway.websocket.client_output import ClientOutput
from gateway_provisioners.gateway.websocket.close_codes import (
    GOING_AWAY,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
)
from gateway_provisioners.gateway.websocket.confirmations import Confirmations
from gateway_provisioners.gateway.websocket.kernel_streams import (
    bytes_in_transit,
    close_streams,
    meter_of,
    open_streams,
)
from gateway_provisioners.gateway.websocket.losses import megabytes
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxChannel, MailboxConnection
from gateway_provisioners.gateway.websocket.mailbox_protocol import Welcome
from gateway_provisioners.gateway.websocket.notices import Notices
from gateway_provisioners.gateway.websocket.rates import OutputRate
from gateway_provisioners.gateway.websocket.requests import ClientRequests
from gateway_provisioners.gateway.websocket.serialization import Part
from gateway_provisioners.model.ownership import Access
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from gateway_provisioners.settings import from_env

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
    # Made when the websocket is open.
    client_input: ClientInput
    notices: Notices
    output: ClientOutput
    _is_set_up = False
    _mailbox: MailboxConnection | None = None
    _attempt = ""  # the launch of the kernel that the client is connected to
    _confirmations: Confirmations | None = None  # if the client asks for them
    _arrival: Arrival | None = None
    _used_channels: tuple[str, ...] = ("iopub", "shell", "control", "stdin")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._is_restored = False
        self._requests = ClientRequests()
        self._activity = ClientActivity(self.kernel_manager, self._requests)

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
        if self._is_restored:
            for channel, stream in self.channels.items():  # of the connection before until now
                self._follow_meter(channel, stream)
        if nudged is not None and self._mailbox is None and losses:
            nudged.add_done_callback(lambda _: self.notices.report_offline_losses(losses))
        if nudged is not None:
            nudged.add_done_callback(lambda _: self.notices.show_kept())
            if self._mailbox is None:
                self._report_attached(None)
        self.access_changed()  # since the request
        return nudged

    def _set_up(self) -> None:
        """Make what passes messages on, in both directions."""
        # tornado switches Nagle's algorithm on after the upgrade. Together with the client's delayed
        # acknowledgement it delays the last message of every execution by 40 ms.
        self.websocket_handler.set_nodelay(True)
        self.output = ClientOutput(
            self.websocket_handler,
            self.kernel_manager,
            self.session,
            self._limits,
            subprotocol=self.subprotocol,
            rate=OutputRate(self.output_bytes_per_second, self.output_messages_per_second),
            on_replaced=self._count_replaced,
        )
        self.output.outbox.on_room = self._has_room_again
        self.output.outbox.on_stalled = self.send_away
        # Handlers of jupyter_server's own know nothing of confirmations.
        if getattr(self.websocket_handler, "confirms", False):
            self._attempt = getattr(self.kernel_manager, "attempt", "")
            self._confirmations = Confirmations(self.output.outbox)
        self.client_input = ClientInput(
            self.kernel_manager,
            self.session,
            self._requests,
            self.output,
            self._limits,
            channels=lambda: self.channels,
            in_transit=self._in_transit,
            access=lambda: self.access,
            disconnect=self._disconnect_client,
            confirmations=self._confirmations,
        )
        self.client_input.on_message = self._activity.note
        self.notices = Notices(
            self.kernel_manager,
            self.output.writer,
            self._requests,
            self._limits,
            session_key=self.session_key,
            session_id=self._session_id,
            access=lambda: self.access,
            is_open=lambda: self in self._open_sockets,
            flush=self._flush,
            on_replaced=self._count_replaced,
        )
        self._is_set_up = True

    def create_stream(self) -> None:
        """Connect to the kernel: to its mailbox if it has one, else to its channels."""
        self.session.key = self.kernel_manager.session.key
        self.output.writer.verifies = self.kernel_manager.curve_publickey is None
        self._attempt = getattr(self.kernel_manager, "attempt", "")
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
            confirms=self._confirmations is not None,
        )
        mailbox.on_message = self._deliver
        mailbox.on_dropped = self.notices.report_dropped
        mailbox.on_taken = self.websocket_handler.close
        mailbox.on_broken = self._report_broken
        mailbox.on_sent = self.client_input.has_left
        mailbox.give_up = self.send_away
        mailbox.can_deliver = self._can_deliver
        if self._confirmations is not None:
            mailbox.on_welcomed_again = self._report_attached
            mailbox.on_accepted = self._confirmations.accepted
            self._confirmations.deliveries.begin(mailbox)
        self._mailbox = mailbox
        self.channels = dict(mailbox.channels)

    def _create_streams(self) -> None:
        for channel, stream in open_streams(self.kernel_manager, self._used_channels):
            self.channels[channel] = stream
            self._follow_meter(channel, stream)

    def _follow_meter(self, channel: str, stream: Any) -> None:
        if meter := meter_of(stream):
            meter.on_sent = self.client_input.has_left
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
            self._arrival = Arrival(
                self.kernel_manager,
                self.session,
                lambda: self.channels["iopub"],
                self.kernel_info_timeout,
            )
            return self._arrival.future
        return asyncio.ensure_future(self._wait_welcome(self._mailbox))

    def disconnect(self) -> None:
        """Disconnect from the kernel and from the client."""
        self._close_writers()
        if self._mailbox is not None:
            self._mailbox.close(for_good=not self._can_return)
            self.channels = {}
        super().disconnect()
        if not self._may_keep_channels:
            self.channels = {}
            if self.kernel_id in self.multi_kernel_manager:
                self.multi_kernel_manager.stop_buffering(self.kernel_id)
        if self._arrival is not None:
            self._arrival.stop()

    @property
    def _may_keep_channels(self) -> bool:
        """True if jupyter_server may keep the channels, and what comes on them, for the next connection.

        The launcher does so if there is a mailbox. Channels on which nothing has come yet may miss the first
        messages, and the next connection would take them for known to work.
        """
        return self._mailbox is None and not self._is_arriving

    @property
    def _is_arriving(self) -> bool:
        """True until messages are known to come on the kernel's own channels."""
        return self._arrival is not None and not self._arrival.future.done()

    @property
    def _can_return(self) -> bool:
        """True if the client can come back for its messages: it has a session id, and may use the kernel."""
        return bool(self._session_id) and self.access >= Access.FULL

    @property
    def _session_id(self) -> str | None:
        """The session id of the client's request."""
        session_id: str | None = self.websocket_handler.get_argument("session_id", None)
        return session_id

    def _close_writers(self) -> None:
        """Write nothing more, in either direction."""
        if self._is_set_up:
            self.output.outbox.close()
            self.client_input.close()
        self._activity.note()

    @property
    def is_replaced(self) -> bool:
        """True if the client has opened another websocket of its session since."""
        own = self.websocket_handler
        return self._open_sessions.get(self.session_key, own) is not own

    def abandon(self) -> None:
        """Forget a client that has left before it was connected, and so has nothing to disconnect."""
        if self._open_sessions.get(self.session_key) is self.websocket_handler:
            del self._open_sessions[self.session_key]
        if self.kernel_info_channel is not None and not self.kernel_info_channel.closed():
            self.kernel_info_channel.close()

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Pass on a message of the client that comes through a handler of jupyter_server's own."""
        text = isinstance(incoming_msg, str)
        message = incoming_msg.encode() if isinstance(incoming_msg, str) else incoming_msg
        self.client_input.take(message, text=text)

    def forget_requests(self) -> None:
        """Expect no more replies to what was sent: the kernel has been restarted."""
        self._requests.awaited.clear()

    def _in_transit(self) -> int:
        if self._mailbox is not None:
            return self._mailbox.waiting_bytes
        return bytes_in_transit(self.channels)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Part]) -> None:
        """Pass a message of the kernel's own channels on; output that cannot wait is dropped."""
        channel = stream if isinstance(stream, str) else stream.channel
        self._note_reply(channel, outgoing_msg)
        if not self.output.from_channels.forward(channel, outgoing_msg):
            self.send_away()

    def _deliver(self, channel: MailboxChannel, frames: list[Part], number: int) -> bool:
        """Pass a message of the mailbox on; return whether its memory is accounted for."""
        mailbox = self._mailbox
        if mailbox is None:
            return True
        self._note_reply(channel.channel, frames)
        written = partial(self._note_written, mailbox, number)
        accounted = self.output.writer.forward(
            channel.channel, frames, written, kept=mailbox.catching_up
        )
        if self._confirmations is not None:
            self._confirmations.deliveries.add(number)
        return accounted

    def _note_written(self, mailbox: MailboxConnection, number: int) -> None:
        mailbox.written(number)
        if self._confirmations is None:
            mailbox.delivered(number)

    def _can_deliver(self) -> bool:
        """Return whether a message of the mailbox may be written."""
        confirmations = self._confirmations
        has_room = confirmations is None or confirmations.deliveries.has_room()
        return has_room and self.output.can_deliver()

    def _note_reply(self, channel: str, frames: list[Part]) -> None:
        if channel == "shell":
            self._requests.awaited.answered(frames)
            self._activity.note()

    def _send_status_message(self, status: str) -> None:
        self._flush()
        self.output.writer.write_status(status, {})

    def _flush(self) -> None:
        """Write what the kernel published before."""
        iopub = self.channels.get("iopub")
        if iopub is not None and not iopub.closed():
            iopub.flush()

    def send_away(self) -> None:
        """Disconnect a client that does not read, so that what waits for it takes no memory."""
        if self not in self._open_sockets:
            return
        outbox = self.output.outbox
        self.log.warning(
            "Kernel %s: a client that reads too slowly is disconnected (%s wait for it)",
            self.kernel_id,
            megabytes(outbox.backlog),
        )
        if self._mailbox is None:
            self.notices.keep_unread(outbox.backlog)
        outbox.close()
        if self._mailbox is not None:
            self._mailbox.close()
        self._disconnect_client("slow", TRY_AGAIN_LATER, _TOO_SLOW)

    def _count_replaced(self, reason: str, count: int = 1) -> None:
        # Stock kernel managers have no metrics.
        if metrics := getattr(self.multi_kernel_manager, "metrics", None):
            metrics.messages_replaced(self.kernel_manager.kernel_name, reason, count)

    def _disconnect_client(self, cause: str, code: int, reason: str) -> None:
        """Close the websocket of a client, or of a kernel, that exceeds a limit or breaks the protocol."""
        if metrics := getattr(self.multi_kernel_manager, "metrics", None):
            metrics.client_sent_away(self.kernel_manager.kernel_name, cause)
        self.websocket_handler.close(code, reason)

    @property
    def is_reading(self) -> bool:
        """True while the client is known to live without a ping: it reads what waits for it."""
        return self._is_set_up and self.output.outbox.backlog > 0

    def _has_room_again(self) -> None:
        self.client_input.has_room_again()
        self.output.from_channels.report_losses()
        if self._mailbox is not None:
            self._mailbox.resume()

    def follow_kernel(self) -> None:
        """Connect to the kernel after a restart moved it; the client does not notice."""
        close_streams(self.channels)
        self.create_stream()
        # Upstream's nudge would take a reply to the client's request for one to its own.
        self.client_input.kernel_moved()
        self._is_restored = False
        if self._mailbox is None and self._arrival is not None and self._is_arriving:
            self._arrival.begin_again()
            nudged = self._arrival.future
        else:
            nudged = self.nudge()
        nudged.add_done_callback(self._subscribe)

    def _subscribe(self, nudged: asyncio.Future[None]) -> None:
        if not nudged.cancelled():
            nudged.exception()  # a kernel that does not answer gets what its client sends all the same
        if self in self._open_sockets:
            self._report_attached(self._welcome)
            for stream in self.channels.values():
                stream.on_recv_stream(self.handle_outgoing_message)
            if self.client_input.is_following and self._mailbox is not None:
                # The kernel reported that it was idle before this client's session had a mailbox there.
                self._send_status_message(self.kernel_manager.execution_state)
            self.client_input.send_held()

    def _kept_for_client(self) -> Mapping[str, Any] | None:
        """Return the channels and messages that jupyter_server kept since the client's last connection."""
        kept: Mapping[str, Any] | None
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)
        return kept if kept is not None and kept["session_key"] == self.session_key else None

    @property
    def _mailbox_endpoint(self) -> MailboxEndpoint | None:
        provisioner = self.kernel_manager.provisioner
        return provisioner.mailbox if isinstance(provisioner, GatewayContract) else None

    @property
    def _welcome(self) -> Welcome | None:
        """The mailbox's welcome, if it has come."""
        welcomed = self._mailbox.welcomed if self._mailbox is not None else None
        return welcomed.result() if welcomed is not None and welcomed.done() else None

    def _report_attached(self, welcome: Welcome | None) -> None:
        """Say to a client that asks for confirmations which launch of the kernel gets its messages."""
        is_closed = self._mailbox is not None and welcome is None
        if self._confirmations is not None and not is_closed:
            held = self.client_input.held_headers
            self._confirmations.attached(self._attempt, welcome, held)

    async def _wait_welcome(self, mailbox: MailboxConnection) -> None:
        welcome = await mailbox.welcomed
        if welcome is None:  # closed meanwhile
            return
        if not self.client_input.is_following:
            self._report_attached(welcome)
        if self.kernel_manager.execution_state in (None, "unknown", "starting"):
            self.kernel_manager.execution_state = welcome.execution_state
        if welcome.dropped:
            self.notices.report_dropped(welcome.dropped)
        if welcome.execution_state != "busy":
            await wait_followed(self.kernel_manager, self.session)

    def _report_cut(self, channel: str) -> None:
        self.notices.report_cut(channel)
        if channel == "iopub":
            self.output.from_channels.end_cell()

    def _report_broken(self, reason: str) -> None:
        self.notices.report_broken(reason)
        self._disconnect_client(
            "launcher", GOING_AWAY, "The kernel's launcher does not speak the protocol."
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
        await self._activity.wait_quiet(
            lambda: self in self._open_sockets, lambda: self._mailbox is not None
        )
