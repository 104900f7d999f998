"""The connection between a client's websocket and its kernel.

`GatewayWebsocketConnection` can be used by plain jupyter_server and jupyter_kernel_gateway as well:
`--ServerApp.kernel_websocket_connection_class=gateway_provisioners.gateway.websocket.connection.GatewayWebsocketConnection`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from gateway_provisioners.aio import within
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection
from gateway_provisioners.provisioners.contract import GatewayContract

# "Going away" (RFC 6455, 7.4.1): clients connect again after it.
GOING_AWAY = 1001
# A kernel answers within 10 ms, and its subscription needs a round trip more.
_ASK_AGAIN_SECONDS = 0.05
# A client that has sent nothing for so long is no more likely to send something now than later.
_QUIET_SECONDS = 1.0


class GatewayWebsocketConnection(ZMQChannelsWebsocketConnection):
    """jupyter_server's connection, without its 40 ms delay per message, for kernels that move.

    If the kernel's launcher has a mailbox, everything goes through it, and the client misses nothing while
    it is not connected.
    """

    channels: dict[str, Any]
    _mailbox: MailboxConnection | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._activity = asyncio.Event()
        # The client's messages since the kernel began to move.
        self._held: list[str] = []
        self._following = False
        self._is_restored = False

    async def prepare(self) -> None:
        """Wait for the kernel's first answer, before the websocket is opened."""
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
        if self._mailbox_port is None:
            asked: asyncio.Future[Any] = super().request_kernel_info()
            return asked
        self._finish_kernel_info({})
        return asyncio.wrap_future(self._kernel_info_future)

    def connect(self) -> asyncio.Future[None] | None:
        """Connect the open websocket to the kernel."""
        # tornado switches Nagle's algorithm on after the upgrade. Together with the client's delayed
        # acknowledgement it delays the last message of every execution by 40 ms.
        self.websocket_handler.set_nodelay(True)
        kept = self._kept_for_client()
        missed = getattr(kept["buffer"], "dropped", 0) if kept is not None else 0
        self._is_restored = (
            kept is not None
            and self.multi_kernel_manager._get_changed_ports(self.kernel_id) is None
        )
        nudged: asyncio.Future[None] | None = super().connect()
        if nudged is not None and self._mailbox is None:
            self._ask_again_soon(nudged)
            if missed:
                nudged.add_done_callback(lambda _: self._report_missed(missed))
        return nudged

    def create_stream(self) -> None:
        """Connect to the kernel: to its mailbox if it has one, else to its channels."""
        self.session.key = self.kernel_manager.session.key
        port = self._mailbox_port
        if port is None:
            self._mailbox = None
            self._create_streams()
            return
        self._mailbox = MailboxConnection(self.kernel_manager, port, self.session.session)
        self._mailbox.on_dropped = self._report_dropped
        self._mailbox.on_taken = self.websocket_handler.close
        self._mailbox.on_reply = self._activity.set
        self._mailbox.can_deliver = self._is_open
        self.channels = dict(self._mailbox.channels)

    def _create_streams(self) -> None:
        # Upstream's streams all identify themselves by the client's session. Of two streams with the same
        # identity, such as those of two gateways between which a client moves, a kernel serves the first.
        identity = uuid.uuid4().hex.encode()
        for channel in ("iopub", "shell", "control", "stdin"):
            stream = getattr(self.kernel_manager, f"connect_{channel}")(identity=identity)
            stream.channel = channel
            self.channels[channel] = stream

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

    def handle_incoming_message(self, incoming_msg: str) -> None:
        """Pass a message of the client on to the kernel."""
        self._activity.set()
        # Stock kernel managers, whose kernels never move, lack the attribute.
        if self._following or getattr(self.kernel_manager, "is_moving", False):
            self._held.append(incoming_msg)
        else:
            super().handle_incoming_message(incoming_msg)

    def disconnect(self) -> None:
        """Disconnect from the kernel and from the client."""
        if self._mailbox is not None:
            # A client without a session id of its own cannot come back for its messages.
            can_return = self.websocket_handler.get_argument("session_id", None)
            self._mailbox.close(for_good=not can_return)
            self.channels = {}
        super().disconnect()
        if self._mailbox is not None and self.kernel_id in self.multi_kernel_manager:
            self.multi_kernel_manager.stop_buffering(self.kernel_id)  # the launcher buffers
        self._activity.set()

    def follow_kernel(self) -> None:
        """Connect to the kernel after a restart moved it; the client does not notice."""
        # Upstream's nudge would take a reply to the client's request for one to its own.
        self._following = True
        for stream in self.channels.values():
            if not stream.closed():
                stream.on_recv(None)
                stream.close()
        self.create_stream()
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
            held, self._held = self._held, []
            for message in held:
                self.handle_incoming_message(message)

    def _kept_for_client(self) -> Mapping[str, Any] | None:
        """Return the channels and messages that jupyter_server kept since the client's last connection."""
        kept: Mapping[str, Any] | None
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)
        return kept if kept is not None and kept["session_key"] == self.session_key else None

    def _report_missed(self, count: int) -> None:
        if self in self._open_sockets:
            self.write_stderr(
                f"The kernel sent more than is kept while no client was connected: the first {count} "
                f"messages are lost.",
                {},
            )

    @property
    def _mailbox_port(self) -> int | None:
        provisioner = self.kernel_manager.provisioner
        return provisioner.mailbox_port if isinstance(provisioner, GatewayContract) else None

    def _is_open(self) -> bool:
        connection = self.websocket_handler.ws_connection
        return connection is not None and not connection.is_closing()

    async def _wait_welcome(self, mailbox: MailboxConnection) -> None:
        welcome = await within(self.kernel_info_timeout, mailbox.welcomed)
        if welcome is None:  # closed meanwhile
            return
        if self.kernel_manager.execution_state in (None, "unknown", "starting"):
            self.kernel_manager.execution_state = welcome.execution_state
        if welcome.dropped:
            self._report_missed(welcome.dropped)

    def _report_dropped(self, count: int) -> None:
        self.write_stderr(
            f"The kernel sent more than this connection could take: {count} messages are lost.", {}
        )

    def _limit_rate(self, channel: str, msg: Any, msg_list: list[Any]) -> bool:
        # Messages that waited in the mailbox come all at once, and are limited by its size.
        if self._mailbox is not None and self._mailbox.catching_up:
            return False
        return bool(super()._limit_rate(channel, msg, msg_list))

    @classmethod
    def of_kernel(cls, kernel: Any) -> list[GatewayWebsocketConnection]:
        """Return the open connections to one kernel."""
        return [
            connection
            for connection in list(cls._open_sockets)
            if isinstance(connection, cls) and connection.kernel_manager is kernel
        ]

    def report_end(self) -> None:
        """Report the kernel as dead to the client, and close the websocket."""
        self.on_restart_failed()
        self.websocket_handler.close()

    def request_reconnect(self, reason: str) -> None:
        """Begin to close the websocket so that the client connects again."""
        self.websocket_handler.close(GOING_AWAY, reason)

    async def close_for_reconnect(self, quiet_timeout: float) -> None:
        """Close the websocket so that the client connects again; return once it is closed.

        Args:
            quiet_timeout: the most seconds to wait until the client is quiet: stock clients lose what they
                send between the end of a connection and the next one.
        """
        with suppress(asyncio.TimeoutError):
            await within(quiet_timeout, self._wait_quiet())
        self.request_reconnect("the gateway is shutting down")
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
