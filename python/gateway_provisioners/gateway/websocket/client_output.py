"""Messages of a kernel on their way to a client, whichever way they come from the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_client.session import Session

from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.channel_output import ChannelOutput
from gateway_provisioners.gateway.websocket.client_limits import client_limit
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.outbox import Outbox, fragment_writer
from gateway_provisioners.gateway.websocket.rates import OutputRate


class ClientOutput:
    """Writes to the websocket of one client.

    Args:
        handler: the websocket's.
        kernel: the kernel.
        session: builds messages of our own, and knows the kernel's key.
        limits: bounds messages and what waits for the client.
        subprotocol: the websocket's; None for one without.
        rate: the limit on output.
        on_replaced: called with the reason when a message is dropped or replaced.

    Attributes:
        is_v1: whether the websocket's protocol is V1, or the older one.
        outbox: what waits for the client.
        writer: writes messages to the outbox, in the websocket's protocol.
        from_channels: passes on what does not come through a mailbox.
    """

    def __init__(
        self,
        handler: Any,
        kernel: Any,
        session: Session,
        limits: Limits,
        *,
        subprotocol: str | None,
        rate: OutputRate,
        on_replaced: Callable[[str], object],
    ) -> None:
        kernels = kernel.parent
        self.is_v1 = subprotocol == serialization.V1
        self.outbox = Outbox(fragment_writer(handler), limits)
        self.writer = ClientWriter(
            kernel.kernel_id,
            session,
            self.outbox,
            v1=self.is_v1,
            max_bytes=limits.messages.from_kernel,
            client_limit=client_limit(handler.request.headers, subprotocol),
            administrator=limits.administrator,
            rate=rate,
            traceback_words=""
            if kernels.allow_tracebacks
            else kernel.traceback_replacement_message,
        )
        self.writer.on_replaced = on_replaced
        # One large message, and more.
        kept = getattr(kernels, "offline_buffer_bytes", 0)
        unread = limits.messages.from_kernel + max(kept, limits.client_buffer_bytes)
        self.from_channels = ChannelOutput(self.writer, self.outbox, unread)
        self._handler = handler

    def can_deliver(self) -> bool:
        """Return whether a message of the mailbox may be written."""
        connection = self._handler.ws_connection
        is_open = connection is not None and not connection.is_closing()
        return bool(is_open and self.outbox.has_room())
