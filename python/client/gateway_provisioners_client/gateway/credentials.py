"""The headers that show who the user is, for the requests of an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.header_source import HeaderSource


class RequestHeaders(Protocol):
    """The source of a request's headers: `Credentials`, or that of a program with a source of its own."""

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next request.

        Raises:
            CredentialError: there is no token where it should be.
        """

    def invalidate(self) -> None:
        """Forget what the gateway has refused (401 or 403), so that it is made again."""


class Credentials:
    """The user's credential for one gateway, without blocking the event loop.

    Args:
        clock: the time now, in seconds since 1970.
    """

    def __init__(self, config: GatewayConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._source = HeaderSource(config, clock=clock)

    @property
    def place(self) -> str:
        """The place of the token, for messages, such as `the variable NAME`; "" without a token."""
        return self._source.place

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next request.

        Raises:
            CredentialError: there is no token where it should be, or the command failed.
        """
        if self._source.blocks:
            return await asyncio.to_thread(self._source.headers)
        return self._source.headers()

    def invalidate(self) -> None:
        """Run the command again before the next request; a variable and a file are read each time anyway."""
        self._source.invalidate()
