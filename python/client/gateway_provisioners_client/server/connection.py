"""The connection of a browser's websocket to a kernel of the gateway, in place of jupyter_server's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from tornado.websocket import WebSocketClosedError

from gateway_provisioners_client.server.legacy import from_legacy, to_legacy
from gateway_provisioners_client.session.frames import MalformedMessage, from_v1, to_v1
from gateway_provisioners_client.session.words import short_header

if TYPE_CHECKING:
    from gateway_provisioners_client.server.managers import ResumedKernels
    from gateway_provisioners_client.server.relay import Relay

_V1 = "v1.kernel.websocket.jupyter.org"
_CHANNELS = frozenset({"shell", "control", "stdin"})


class ResumedConnection(BaseKernelWebsocketConnection):
    """Serves one websocket of a browser, in the protocol that the browser asked for."""

    _relay: Relay | None = None

    @property
    def _kernels(self) -> ResumedKernels:
        kernels: ResumedKernels = self.multi_kernel_manager
        return kernels

    async def connect(self) -> None:
        """Begin to carry messages; what the browser sends meanwhile waits for the gateway."""
        self._relay = self._kernels.relays.take(str(self.kernel_id), self.session_id)
        self._relay.attach(self._kernels.gateway, self)

    def disconnect(self) -> None:
        """Note that the browser's websocket has ended."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.detach(self)

    async def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Send a message of the browser to the kernel; the next one is read when this is on its way."""
        try:
            channel, parts = self._decoded(incoming_msg)
        except MalformedMessage:
            self.log.warning("A client of kernel %s sent a malformed message.", self.kernel_id)
            return
        if channel not in _CHANNELS or not self._is_allowed(parts[0]):
            self.log.warning(
                "A client of kernel %s sent a message that is not allowed.", self.kernel_id
            )
            return
        if self._relay is not None:
            await self._relay.send(channel, parts)

    def has_read(self, data: bytes) -> None:
        """Note a pong of the browser."""
        if self._relay is not None and data.isdigit():
            self._relay.has_read(int(data))

    # What the relay asks of a client.

    def write(self, channel: str, parts: Sequence[bytes]) -> None:
        """Send a message of the kernel to the browser."""
        try:
            frame = to_v1(channel, parts) if self._is_v1 else to_legacy(channel, parts)
        except MalformedMessage:
            self.log.warning("Kernel %s sent a malformed message.", self.kernel_id)
            return
        try:
            written = self.websocket_handler.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError:
            return
        # The relay keeps the message for the next websocket.
        written.add_done_callback(_ignore_closed)

    def ping(self, number: int) -> None:
        """Ask the browser to confirm what it has received."""
        try:
            self.websocket_handler.ping(b"%d" % number)
        except WebSocketClosedError:
            return

    def close(self) -> None:
        """Close the browser's websocket: it has opened another one."""
        self.websocket_handler.close()

    @classmethod
    async def close_all(cls) -> None:
        """Do nothing: the server calls this at its end, when the kernel manager has closed them."""

    @property
    def _is_v1(self) -> bool:
        return bool(self.websocket_handler.selected_subprotocol == _V1)

    def _decoded(self, frame: str | bytes) -> tuple[str, list[bytes]]:
        if not self._is_v1:
            return from_legacy(frame)
        if isinstance(frame, str):
            raise MalformedMessage
        return from_v1(frame)

    def _is_allowed(self, header: bytes) -> bool:
        allowed = self.multi_kernel_manager.allowed_message_types
        return not allowed or short_header(header).get("msg_type") in allowed


def _ignore_closed(written: Any) -> None:
    if not written.cancelled():
        written.exception()
