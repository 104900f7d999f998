"""The way of requests to the gateway: a session of aiohttp, through the proxy of the environment."""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.tls import context_of


class GatewayWebsocket(aiohttp.ClientWebSocketResponse):
    """A kernel's websocket, and what the gateway offers on it.

    Attributes:
        features: what `X-Gateway-Features` of the gateway's answer lists, such as `confirm`.
    """

    features: frozenset[str] = frozenset()

    def __init__(
        self, reader: Any, writer: Any, protocol: Any, response: Any, *args: Any, **options: Any
    ) -> None:
        super().__init__(reader, writer, protocol, response, *args, **options)
        listed = response.headers.get("X-Gateway-Features", "")[:1000].split(",")
        self.features = frozenset(filter(None, map(str.strip, listed)))


def new_session(config: GatewayConfig) -> aiohttp.ClientSession:
    """Open a session, in a running event loop.

    It keeps no cookies, which a server could fill the memory with, and leaves ~/.netrc alone: aiohttp would
    send the password there instead of the token.

    Raises:
        ConfigurationError: a certificate cannot be used.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context_of(config) or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=config.request_timeout),
        ws_response_class=GatewayWebsocket,
        trust_env=False,
    )


def proxy_options(config: GatewayConfig) -> dict[str, Any]:
    """Return the options of a request that name the proxy for it, if there is one.

    HTTPS_PROXY, HTTP_PROXY and NO_PROXY are respected, or what macOS and Windows have in their settings.
    """
    parts = urlsplit(config.url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return {}
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    options: dict[str, Any] = {
        "proxy": urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))
    }
    if address.username is not None:
        login = f"{unquote(address.username)}:{unquote(address.password or '')}".encode()
        options["proxy_headers"] = {"Proxy-Authorization": f"Basic {b64encode(login).decode()}"}
    return options
