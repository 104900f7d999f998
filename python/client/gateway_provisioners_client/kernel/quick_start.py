"""The request that starts a kernel, sent before the program has loaded the rest of its libraries."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway_provisioners_client._version import __version__
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.header_source import HeaderSource
from gateway_provisioners_client.gateway.tls import context_of

if TYPE_CHECKING:
    import asyncio

_CLIENT = f"gateway-provisioners-client/{__version__}"
_LARGEST_ANSWER = 16 * 1024 * 1024


class QuickStart(threading.Thread):
    """Sends the request in a thread of its own.

    Args:
        config: the gateway.
        name: of the kernelspec there.
        kernel_id: a new one.
        env: the variables of the kernel.

    Attributes:
        was_sent: True if the gateway may have the request, whatever else happened.
        status: of HTTP; 0 if no answer came.
        body: of the answer.
    """

    def __init__(
        self, config: GatewayConfig, name: str, kernel_id: str, env: Mapping[str, str]
    ) -> None:
        super().__init__(daemon=True, name="start")
        self._config = config
        self._request = {"name": name, "kernel_id": kernel_id, "env": dict(env)}
        self._done: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self.was_sent = False
        self.status = 0
        self.body = b""
        self.is_done = False

    def run(self) -> None:
        """Send the request and read the answer."""
        try:
            self._send()
        except Exception:  # noqa: BLE001, S110 - the regular way is tried next, and names the cause
            pass
        finally:
            with self._lock:
                self.is_done = True
                if self._loop is not None and self._done is not None:
                    self._loop.call_soon_threadsafe(self._done.set)

    async def done(self) -> None:
        """Wait until the answer is there, or none will come."""
        import asyncio

        done = asyncio.Event()
        with self._lock:
            if self.is_done:
                return
            self._loop, self._done = asyncio.get_running_loop(), done
        await done.wait()

    def _send(self) -> None:
        url = urlsplit(self._config.url)
        if urllib.request.getproxies().get(url.scheme) and not urllib.request.proxy_bypass(
            url.netloc
        ):
            return  # the regular way knows proxies
        headers = HeaderSource(self._config).headers()
        connection = self._connect(url.hostname or "", url.port)
        try:
            connection.connect()
            # A start may take an hour, without a byte.
            connection.sock.settimeout(None)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            body = json.dumps(self._request).encode()
            self.was_sent = True
            connection.request(
                "POST",
                f"{url.path}/api/kernels",
                body,
                {
                    "Content-Type": "application/json",
                    "User-Agent": _CLIENT,
                    "X-Gateway-Client": _CLIENT,
                    **headers,
                },
            )
            response = connection.getresponse()
            self.body = response.read(_LARGEST_ANSWER)
            self.status = response.status
        finally:
            connection.close()

    def _connect(self, host: str, port: int | None) -> http.client.HTTPConnection:
        timeout = self._config.request_timeout
        context = context_of(self._config)
        if context is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
