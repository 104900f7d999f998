"""Requests and websockets with the user's credential, which is made again when the gateway refuses it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import cast

import aiohttp

from gateway_provisioners_client._version import __version__
from gateway_provisioners_client.errors import GatewayRefused
from gateway_provisioners_client.gateway import answers
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.connections import (
    GatewayWebsocket,
    new_session,
    proxy_options,
)
from gateway_provisioners_client.gateway.credentials import RequestHeaders

CLIENT = f"gateway-provisioners-client/{__version__}"
_HEARTBEAT = 20.0


class Transport:
    """Sends what a `GatewayApi` asks, over connections that it owns."""

    def __init__(self, config: GatewayConfig, credentials: RequestHeaders) -> None:
        self._config = config
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        seconds: float | None = 0,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and give its answer, of a status below 300.

        Args:
            path: below the gateway's URL, or a whole URL.
            seconds: for the whole answer; 0: the configured time-out, None: no limit.
            silence: the seconds in which at least something must arrive.
        """
        url = path if "://" in path else self._config.url + path
        limit = self._config.request_timeout if seconds == 0 else seconds
        timeout = aiohttp.ClientTimeout(
            total=limit, sock_connect=self._config.request_timeout, sock_read=silence
        )
        session = self._open()
        headers = await self._headers()
        try:
            for is_last in (False, True):
                async with session.request(
                    method,
                    url,
                    json=json,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,  # another host would get the token
                    **proxy_options(self._config),
                ) as response:
                    if response.status < 300:
                        yield response
                        return
                    refusal = await self._refusal(response)
                renewed = await self._renewed(refusal.status, headers)
                if is_last or renewed is None:
                    raise refusal
                headers = renewed
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            raise answers.unreachable(error, self._config) from error

    async def websocket(self, path: str, subprotocol: str) -> GatewayWebsocket:
        """Open a websocket.

        Raises:
            ClientError: the gateway does not answer, refuses it or does not know the subprotocol.
        """
        url = self._config.url + path
        headers = await self._headers()
        for is_last in (False, True):
            try:
                websocket = await self._connect(url, subprotocol, headers)
            except GatewayRefused as error:
                renewed = await self._renewed(error.status, headers)
                if is_last or renewed is None:
                    raise
                headers = renewed
            else:
                break
        if websocket.protocol != subprotocol:
            await websocket.close()
            raise GatewayRefused(
                f"The gateway {self._config.host} does not speak {subprotocol}: it is too old, or a Jupyter "
                "server that uses a gateway itself. Use the URL of the gateway.",
                400,
                "NoSubprotocol",
            )
        return websocket

    async def _connect(
        self, url: str, subprotocol: str, headers: Mapping[str, str]
    ) -> GatewayWebsocket:
        session = self._open()
        try:
            websocket = await asyncio.wait_for(
                session.ws_connect(
                    url,
                    protocols=[subprotocol],
                    headers=headers,
                    heartbeat=_HEARTBEAT,
                    max_msg_size=0,
                    compress=0,
                    **proxy_options(self._config),
                ),
                self._config.request_timeout,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise self._refusal_of_websocket(error.status) from None
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            raise answers.unreachable(error, self._config) from error
        return cast(GatewayWebsocket, websocket)  # the session makes no other

    def _refusal_of_websocket(self, status: int) -> GatewayRefused:
        host = self._config.host
        words = f"The gateway {host} answered {status} to the connection to the kernel."
        if status == 404:
            words = "The kernel does not exist at the gateway any longer."
        elif status in {401, 403}:
            words = (
                f"The gateway {host} refused the connection to the kernel ({status}): your token may have "
                "expired, or the kernel is not yours."
            )
        return GatewayRefused(words, status)

    async def _refusal(self, response: aiohttp.ClientResponse) -> GatewayRefused:
        body = b""
        with contextlib.suppress(GatewayRefused):  # too large for an error
            body = await answers.body_of(response)
        return answers.refusal(
            answers.Answer.of(response), body, getattr(self._credentials, "place", "")
        )

    async def _headers(self) -> dict[str, str]:
        return {
            "Accept-Encoding": "identity",
            "User-Agent": CLIENT,
            "X-Gateway-Client": CLIENT,
            **await self._credentials.headers(),
        }

    async def _renewed(self, status: int, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Return headers with another credential, if a new one is at hand for a refused request."""
        if status not in {401, 403}:
            return None
        self._credentials.invalidate()
        renewed = await self._headers()
        return renewed if renewed != headers else None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = new_session(self._config)
        return self._session
