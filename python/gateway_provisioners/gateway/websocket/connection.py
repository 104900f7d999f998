"""The way between a client's websocket and its kernel.

`GatewayWebsocketConnection` can be used by plain jupyter_server and jupyter_kernel_gateway as well:
`--ServerApp.kernel_websocket_connection_class=gateway_provisioners.gateway.websocket.connection.GatewayWebsocketConnection`.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection
from gateway_provisioners.provisioners.contract import GatewayContract

# "Going away" (RFC 6455, 7.4.1): clients connect again after it.
GOING_AWAY = 1001
# A kernel answers within 10 ms, and its subscription needs a round trip more.
_ASK_AGAIN_SECONDS = 0.05
# A client that has said nothing for so long is not about to say something more than at any time.
_QUIET_SECONDS = 1.0


class GatewayWebsocketConnection(ZMQChannelsWebsocketConnection):
    """jupyter_server's connection, without 40 ms of waiting per message and true to its kernel.

    Where the kernel's launcher has a mailbox, everything goes through it: the client misses nothing then
    while nobody is connected for it.
    """

    channels: dict[str, Any]
    _mailbox: MailboxConnection | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stirred = asyncio.Event()
        # What the client said while its kernel was on its way to another place.
        self._held: list[str] = []
        self._following = False
        self._is_restored = False

    async def prepare(self) -> None:
        """Wait for the kernel's first answer, before the websocket is opened."""
        # Upstream looks every 100 ms whether a dead kernel lives again. It finds out before it can know
        # where the kernel is then, and with which keys.
        if wait := getattr(self.kernel_manager, "wait_alive", None):
            await asyncio.wait_for(wait(), self.kernel_info_timeout)
        await super().prepare()
        # Upstream has the client wait until the kernel has left the state "starting", which it looks
        # for every 50 ms and in messages that it may have missed: then it asks anew after 500 ms. A
        # kernel that has answered has started.
        future = self._kernel_info_future  # not done if the kernel was given up on
        answered = future.done() and future.result()
        if answered and self.kernel_manager.execution_state == "starting":
            self.kernel_manager.execution_state = "idle"

    def request_kernel_info(self) -> asyncio.Future[Any]:
        """Ask the kernel what it is; one with a mailbox need not be asked, nor idle to be connected to."""
        if self._mailbox_port is None:
            asked: asyncio.Future[Any] = super().request_kernel_info()
            return asked
        self._finish_kernel_info({})
        return asyncio.wrap_future(self._kernel_info_future)

    def connect(self) -> asyncio.Future[None] | None:
        """Connect the websocket, which is open, to the kernel."""
        # tornado switches Nagle's algorithm on after the upgrade. Together with the client's delayed
        # acknowledgement it keeps the last message of every execution back for 40 ms.
        self.websocket_handler.set_nodelay(True)
        missed = self._missed_messages()
        self._is_restored = self._finds_its_channels()
        nudged: asyncio.Future[None] | None = super().connect()
        if nudged is not None and self._mailbox is None:
            self._ask_again_soon(nudged)
            if missed:
                nudged.add_done_callback(lambda _: self._tell_of(missed))
        return nudged

    def create_stream(self) -> None:
        """Connect to the kernel: to its mailbox if there is one, else to its channels."""
        self.session.key = self.kernel_manager.session.key
        port = self._mailbox_port
        if port is None:
            self._mailbox = None
            self._create_streams()
            return
        self._mailbox = MailboxConnection(self.kernel_manager, port, self.session.session)
        self._mailbox.on_dropped = self._tell_of_dropped
        self._mailbox.on_taken = self.websocket_handler.close
        self._mailbox.on_reply = self._stirred.set
        self._mailbox.can_deliver = self._is_open
        self.channels = dict(self._mailbox.channels)

    def _create_streams(self) -> None:
        # Upstream's streams are all known to the kernel by the client's session. Of two with one name, such
        # as those of two gateways between which a client moves, a kernel serves the first.
        identity = uuid.uuid4().hex.encode()
        for channel in ("iopub", "shell", "control", "stdin"):
            stream = getattr(self.kernel_manager, f"connect_{channel}")(identity=identity)
            stream.channel = channel
            self.channels[channel] = stream

    def nudge(self) -> asyncio.Future[None]:
        """Find out that the kernel's messages arrive; returns a future of that."""
        if self._is_restored:
            # Nothing has to be found out, and what comes now must not be taken for an answer.
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        if self._mailbox is None:
            nudged: asyncio.Future[None] = super().nudge()
            return nudged
        return asyncio.ensure_future(self._be_welcomed(self._mailbox))

    def handle_incoming_message(self, incoming_msg: str) -> None:
        """Pass a message of the client on to the kernel."""
        self._stirred.set()
        # Stock kernel managers, whose kernels never move, have no such word.
        if self._following or getattr(self.kernel_manager, "is_moving", False):
            self._held.append(incoming_msg)
        else:
            super().handle_incoming_message(incoming_msg)

    def disconnect(self) -> None:
        """Let go of the kernel, and of the client."""
        if self._mailbox is not None:
            # Without a session id of its own nobody comes back for it.
            comes_back = self.websocket_handler.get_argument("session_id", None)
            self._mailbox.close(for_good=not comes_back)
            self.channels = {}
        super().disconnect()
        if self._mailbox is not None and self.kernel_id in self.multi_kernel_manager:
            self.multi_kernel_manager.stop_buffering(self.kernel_id)  # its launcher does that
        self._stirred.set()

    def follow_kernel(self) -> None:
        """Connect to where the kernel is after a restart; its client does not notice."""
        self._following = (
            True  # upstream's nudge takes what comes meanwhile for an answer to its own
        )
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
        """Make up for a subscription that came too late for the kernel's first answer.

        Upstream asks the kernel something to see that what it publishes arrives. An answer that is
        published before the subscription has reached the kernel is lost; upstream asks anew after
        500 ms, once in a hundred connections and more often on a busy host.
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
                # A kernel says that it is idle before anybody has a mailbox there.
                self._send_status_message(self.kernel_manager.execution_state)
            self._following = False
            held, self._held = self._held, []
            for message in held:
                self.handle_incoming_message(message)

    def _finds_its_channels(self) -> bool:
        """Whether the channels of this client's last connection are there, and lead to the kernel."""
        kernels = self.multi_kernel_manager
        kept = kernels._kernel_buffers.get(self.kernel_id)
        return (
            kept is not None
            and kept["session_key"] == self.session_key
            and kernels._get_changed_ports(self.kernel_id) is None
        )

    def _missed_messages(self) -> int:
        """How many of the messages that were kept for this client had to be dropped."""
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)
        if kept is None or kept["session_key"] != self.session_key:
            return 0
        return getattr(kept["buffer"], "dropped", 0)

    def _tell_of(self, missed: int) -> None:
        if self in self._open_sockets:
            self.write_stderr(
                f"The kernel said more while nobody was connected than is kept: the first "
                f"{missed} messages are lost.",
                {},
            )

    @property
    def _mailbox_port(self) -> int | None:
        provisioner = self.kernel_manager.provisioner
        return provisioner.mailbox_port if isinstance(provisioner, GatewayContract) else None

    def _is_open(self) -> bool:
        connection = self.websocket_handler.ws_connection
        return connection is not None and not connection.is_closing()

    async def _be_welcomed(self, mailbox: MailboxConnection) -> None:
        welcome = await asyncio.wait_for(mailbox.welcomed, self.kernel_info_timeout)
        if welcome is None:  # closed meanwhile
            return
        if self.kernel_manager.execution_state in (None, "unknown", "starting"):
            self.kernel_manager.execution_state = welcome.execution_state
        if welcome.dropped:
            self._tell_of(welcome.dropped)

    def _tell_of_dropped(self, count: int) -> None:
        self.write_stderr(
            f"The kernel said more than this connection could take: {count} messages are lost.", {}
        )

    def _limit_rate(self, channel: str, msg: Any, msg_list: list[Any]) -> bool:
        # What has waited comes all at once, and is no more than the mailbox keeps.
        if self._mailbox is not None and self._mailbox.catching_up:
            return False
        return bool(super()._limit_rate(channel, msg, msg_list))

    @classmethod
    def of_kernel(cls, kernel: Any) -> list[GatewayWebsocketConnection]:
        """The open connections to one kernel."""
        return [
            connection
            for connection in list(cls._open_sockets)
            if isinstance(connection, cls) and connection.kernel_manager is kernel
        ]

    def tell_of_end(self) -> None:
        """Tell the client that its kernel is no more, and close the websocket."""
        self.on_restart_failed()
        self.websocket_handler.close()

    async def say_goodbye(self, patience: float) -> None:
        """Close the websocket so that the client connects again; returns once it is closed.

        Args:
            patience: seconds to wait at most for a good moment: stock clients lose what they say between
                the end of a connection and the next one.
        """
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._good_moment(), patience)
        self.websocket_handler.close(GOING_AWAY, "the gateway is shutting down")
        await asyncio.wrap_future(self._close_future)

    async def _good_moment(self) -> None:
        """Wait until the client waits for a reply that the mailbox keeps, or says nothing for a while."""
        kernel = self.kernel_manager
        kernel.observe(self._stir, "execution_state")
        try:
            while self in self._open_sockets:
                if self._mailbox is not None and self._mailbox.awaits_reply:
                    return
                self._stirred.clear()
                # Without a mailbox what the kernel still says would be lost.
                busy = self._mailbox is None and kernel.execution_state == "busy"
                try:
                    await asyncio.wait_for(self._stirred.wait(), None if busy else _QUIET_SECONDS)
                except asyncio.TimeoutError:
                    return
        finally:
            kernel.unobserve(self._stir, "execution_state")

    def _stir(self, _change: Any) -> None:
        self._stirred.set()
