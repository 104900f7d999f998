"""The handler of kernels' websockets in gateway mode: large messages, back-pressure and answers to pings."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from jupyter_server.utils import url_path_join

from gateway_provisioners_client.server.managers import ResumedKernels

# More than a gateway takes with its default settings, 32 MiB: it answers in words what is too large for it.
_MOST_BYTES = 64 * 1024 * 1024


class ResumedWebsocketHandler(KernelWebsocketHandler):
    """Serves `/api/kernels/ID/channels`."""

    @property
    def max_message_size(self) -> int:
        """The most bytes in a message of a client."""
        return max(_MOST_BYTES, int(super().max_message_size))

    async def pre_get(self) -> None:
        """Look for a kernel of a predecessor, which this server may not have listed yet."""
        kernels = self.kernel_manager
        if isinstance(kernels, ResumedKernels) and self.kernel_id not in kernels:
            allowed = await ensure_async(
                self.authorizer.is_authorized(self, self.current_user, "execute", "kernels")
            )
            if allowed:
                await kernels.find(self.kernel_id)
        await super().pre_get()

    def on_message(self, ws_message: str | bytes) -> Awaitable[None] | None:
        """Pass a message on; tornado reads the next one when the answer is done."""
        if self.connection is None:
            return None
        passed: Awaitable[None] | None = self.connection.handle_incoming_message(ws_message)
        return passed

    def on_pong(self, data: bytes) -> None:
        """Note that the client has read all that was sent before a ping."""
        super().on_pong(data)
        if self.connection is not None:
            self.connection.has_read(data)


def websocket_handlers(base_url: str) -> list[tuple[str, Any]]:
    """Return the handlers for kernels' websockets, which come before those of jupyter_server."""
    path = url_path_join(
        re.escape(base_url), "/api/kernels", r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)", "channels"
    )
    return [(path, ResumedWebsocketHandler)]
