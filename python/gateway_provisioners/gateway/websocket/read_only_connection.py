"""The connection of a client that may see what a kernel publishes, and may not use it."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.kernel_streams import close_streams
from gateway_provisioners.model.ownership import Access
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint


class ReadOnlyConnection(GatewayWebsocketConnection):
    """Shows what the kernel publishes while the client is connected.

    It is connected to nothing of the kernel but its published messages. The kernel keeps nothing for the
    client, so that any number of clients may watch without taking the place of a mailbox of those who use
    the kernel. The client does not count as one of the kernel's connections: watching does not keep an idle
    kernel alive.
    """

    _used_channels = ("iopub",)

    @property
    def _mailbox_endpoint(self) -> MailboxEndpoint | None:
        return None

    def request_kernel_info(self) -> asyncio.Future[Any]:
        """Return at once: clients connect while the kernel is busy."""
        self._finish_kernel_info({})
        return asyncio.wrap_future(self._kernel_info_future)

    def connect(self) -> asyncio.Future[None]:
        """Connect the open websocket to what the kernel publishes.

        Upstream's would count the connection, and take what is kept for a client that uses the kernel.
        """
        self._set_up()
        self.create_stream()
        kernels, kernel_id = self.multi_kernel_manager, self.kernel_id
        kernels.add_restart_callback(kernel_id, self.on_kernel_restarted)
        kernels.add_restart_callback(kernel_id, self.on_restart_failed, "dead")
        self._open_sockets.add(self)
        connected = self.nudge()
        self._subscribe(connected)
        self.access_changed()
        return connected

    def nudge(self) -> asyncio.Future[None]:
        """Return a future that is done: none of the client's requests has an answer that it could miss."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def disconnect(self) -> None:
        """Disconnect from the kernel and from the client."""
        self._close_writers()
        self.abandon()
        kernels, kernel_id = self.multi_kernel_manager, self.kernel_id
        if kernel_id in kernels:
            kernels.remove_restart_callback(kernel_id, self.on_kernel_restarted)
            kernels.remove_restart_callback(kernel_id, self.on_restart_failed, "dead")
        close_streams(self.channels)
        self.channels = {}
        self._open_sockets.discard(self)
        if not self._close_future.done():
            self._close_future.set_result(None)

    def access_changed(self) -> None:
        """Disconnect a client that may not see the kernel any longer, or that may do more now."""
        super().access_changed()
        if self.access >= Access.FULL:
            self.request_reconnect("You may run code in this kernel now.")

    async def _wait_quiet(self) -> None:
        """Return at once: the client sends nothing that could be lost."""
