"""The way between a client's websocket and its kernel.

`GatewayWebsocketConnection` can be used by plain jupyter_server and jupyter_kernel_gateway as well:
`--ServerApp.kernel_websocket_connection_class=gateway_provisioners.host.websocket.GatewayWebsocketConnection`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

# "Going away" (RFC 6455, 7.4.1): clients connect again after it.
GOING_AWAY = 1001
# A kernel answers within 10 ms, and its subscription needs a round trip more.
_ASK_AGAIN_SECONDS = 0.05


class GatewayWebsocketConnection(ZMQChannelsWebsocketConnection):
    """jupyter_server's connection, without 40 ms of waiting per message and true to its kernel."""

    async def prepare(self) -> None:
        """Wait for the kernel's first answer, before the websocket is opened."""
        await super().prepare()
        # Upstream has the client wait until the kernel has left the state "starting", which it looks
        # for every 50 ms and in messages that it may have missed: then it asks anew after 500 ms. A
        # kernel that has answered has started.
        future = self._kernel_info_future  # not done if the kernel was given up on
        answered = future.done() and future.result()
        if answered and self.kernel_manager.execution_state == "starting":
            self.kernel_manager.execution_state = "idle"

    def connect(self) -> asyncio.Future[None] | None:
        """Connect the websocket, which is open, to the kernel."""
        # tornado switches Nagle's algorithm on after the upgrade. Together with the client's delayed
        # acknowledgement it keeps the last message of every execution back for 40 ms.
        self.websocket_handler.set_nodelay(True)
        missed = self._missed_messages()
        nudged: asyncio.Future[None] | None = super().connect()
        if nudged is not None:
            self._ask_again_soon(nudged)
            if missed:
                nudged.add_done_callback(lambda _: self._tell_of(missed))
        return nudged

    def follow_kernel(self) -> None:
        """Connect to where the kernel is after a restart; its client does not notice."""
        for stream in self.channels.values():
            if not stream.closed():
                stream.on_recv(None)
                stream.close()
        self.session.key = self.kernel_manager.session.key
        self.create_stream()
        nudged = self.nudge()
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

    def _missed_messages(self) -> int:
        """How many of the messages that were kept for this client had to be dropped."""
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)
        if kept is None or kept["session_key"] != self.session_key:
            return 0
        return getattr(kept["buffer"], "dropped", 0)

    def _tell_of(self, missed: int) -> None:
        if self in self._open_sockets:
            self.write_stderr(
                f"The kernel said more while nobody was connected than the gateway keeps: the first "
                f"{missed} messages are lost.",
                {},
            )

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

    async def say_goodbye(self) -> None:
        """Close the websocket so that the client connects again; returns once it is closed."""
        self.websocket_handler.close(GOING_AWAY, "the gateway is shutting down")
        await asyncio.wrap_future(self._close_future)
