"""The handler of the websockets of clients to their kernels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from functools import partial
from types import MappingProxyType
from typing import Any

from jupyter_server.services.kernels import handlers as upstream
from tornado import web
from tornado.websocket import WebSocketClosedError

from gateway_provisioners.gateway.http.credential_watch import CredentialWatch
from gateway_provisioners.gateway.http.handlers import GatewayHandlerMixin
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.gateway.websocket.close_codes import TRY_AGAIN_LATER
from gateway_provisioners.gateway.websocket.confirmations import (
    FEATURE,
    FEATURES_HEADER,
    are_confirmed,
)
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.read_only_connection import ReadOnlyConnection
from gateway_provisioners.gateway.websocket.websocket_protocol import BoundedWebSocketProtocol
from gateway_provisioners.model.ownership import Access

_log = logging.getLogger(__name__)

_EXPIRED = "Your credential has expired; connect again."
# The longest wait for a moment at which a client with an expired credential loses nothing.
_EXPIRED_SECONDS = 60.0


class KernelWebsocketHandler(GatewayHandlerMixin, upstream.KernelWebsocketHandler):
    """Connects a client to its kernel."""

    audit_events = MappingProxyType({"GET": "attach"})
    connection: GatewayWebsocketConnection | None
    _is_open = False
    _has_left = False
    confirms = False
    """True if the client gets confirmations; known before the connection to the kernel is made."""
    _credential: Credential
    _credential_watch: CredentialWatch | None = None
    _ending: asyncio.Task[None] | None = None

    @property
    def kernel_websocket_connection_class(self) -> Any:
        """The class of the connection, by what the client may do with the kernel."""
        if self.access_to(self.kernel_id) == Access.READ:
            return ReadOnlyConnection
        return super().kernel_websocket_connection_class

    async def pre_get(self) -> None:
        """Prepare the connection to the kernel, unless the client leaves meanwhile."""
        # Now: the client's certificate is not known from the request any longer once the websocket is open.
        self._credential = self.settings["authenticator"].credential_of(self.request)
        await super().pre_get()
        if self.connection is None:
            return
        if self._has_left:
            self.connection.abandon()
            raise web.Finish
        if self.connection.is_replaced:
            # Upstream closes only one that is open. This one would take the messages of the other.
            self.connection.abandon()
            raise web.HTTPError(409, "Another websocket of this session has been opened since.")

    async def open(self, kernel_id: str) -> None:
        """Connect to the kernel."""
        self._is_open = True
        self._credential_watch = CredentialWatch(
            self.identity,
            partial(self.settings["authenticator"].identify_again, self._credential),
            changed=self._take_identity,
            ended=self._end,
        )
        await super().open(kernel_id)
        kernels = self.kernel_manager
        access = self.access_to(kernel_id).name.lower()
        kernels.audit.record("attach", kernels.audited(kernel_id), actor=self.actor, access=access)

    def _take_identity(self, identity: Identity) -> None:
        self.identity = identity
        if self.connection is not None:
            self.connection.access_changed()

    def _end(self) -> None:
        """Disconnect a client whose credential is not valid any longer."""
        if self.connection is None:
            return
        expires_at = self.identity.expires_at
        if expires_at is not None and time.time() >= expires_at:
            # Its client has a newer one, and loses what it sends between two connections.
            self._ending = asyncio.create_task(
                self.connection.close_for_reconnect(_EXPIRED, _EXPIRED_SECONDS)
            )
        else:
            _log.info("%s: the client's credential is no longer valid", self._request_summary())
            self.connection.expel("Your credential is no longer valid; connect again.")

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Choose the websocket's protocol, and say in the response what else is agreed on."""
        selected: str | None = super().select_subprotocol(subprotocols)
        self.confirms = are_confirmed(
            self.get_argument("features", ""), selected, self.get_argument("session_id", None)
        )
        if self.confirms:
            self.set_header(FEATURES_HEADER, FEATURE)
        return selected

    def on_close(self) -> None:
        """Disconnect from the kernel; upstream fails before the connection is made."""
        if self._credential_watch is not None:
            self._credential_watch.close()
            self._credential_watch = None  # which knows this handler
        if self._is_open:
            super().on_close()
        else:
            self._has_left = True

    def get_websocket_protocol(self, *args: Any) -> Any:
        """Return the websocket's protocol, whose messages are bounded."""
        protocol = super().get_websocket_protocol(*args)
        if protocol is None:
            return None
        # Leave pings to jupyter_server: tornado would take the milliseconds for seconds.
        protocol.params.ping_interval = protocol.params.ping_timeout = None
        return BoundedWebSocketProtocol(self, protocol.params, self.kernel_manager.limits)

    def on_data(self, message: bytes, *, text: bool) -> Awaitable[None] | None:
        """Pass a message on; the next one is read when most of what came has left for the kernel."""
        if self.connection is None:
            return None
        client_input = self.connection.client_input
        client_input.take(message, text=text)
        return self._pause(client_input.wait_until_sent())

    def get_compression_options(self) -> None:
        """Offer no compression: the size of what is compressed is not known before it takes memory."""

    def on_too_large(self, message: bytes, size: int, *, text: bool) -> None:
        """Answer a message that is too large, of which only the beginning and the end are known."""
        if self.connection is not None:
            self.connection.client_input.refuse(message, size, text=text)

    def on_too_slow(self) -> None:
        """Disconnect a client whose message takes too long while others wait for the memory."""
        self.close(TRY_AGAIN_LATER, "The message took too long; try again.")

    def send_ping(self) -> None:
        """Send a ping, unless the client is busy reading, or is not read itself."""
        if self._is_paused or (self.connection is not None and self.connection.is_reading):
            self.on_pong(b"")
        else:
            # After a reset the stream is closed before this handler is informed.
            with contextlib.suppress(WebSocketClosedError):
                super().send_ping()

    _is_paused = False

    async def _pause(self, sent: Awaitable[None]) -> None:
        self._is_paused = True
        try:
            await sent
        finally:
            self._is_paused = False
            self.on_pong(b"")
