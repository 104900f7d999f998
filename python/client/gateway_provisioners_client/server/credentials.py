"""A Jupyter server's own settings for its gateway, for this package's client of gateways."""

from __future__ import annotations

import base64

from jupyter_server.gateway.gateway_client import GatewayClient

from gateway_provisioners_client.gateway.config import GatewayConfig


class ServerCredentials:
    """The headers that a Jupyter server in gateway mode sends, made anew for each request.

    They are those of `GatewayClient.load_connection_args`, so that the operator's token renewer, cookies and
    headers work as they do in the server itself.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    async def headers(self) -> dict[str, str]:
        """Return the headers for the next request or websocket."""
        arguments = self._client.load_connection_args()
        headers = {str(name): str(value) for name, value in arguments.get("headers", {}).items()}
        user = arguments.get("auth_username")
        if user and "Authorization" not in headers:
            pair = f"{user}:{arguments.get('auth_password') or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers

    def invalidate(self) -> None:
        """Do nothing: the server's token renewer is asked at every request."""


def config_of(client: GatewayClient, url: str = "") -> GatewayConfig:
    """Return how a Jupyter server in gateway mode reaches its gateway.

    Args:
        client: the server's settings.
        url: in place of the gateway's.

    Raises:
        ConfigurationError: the URL is not a gateway's.
    """
    client.load_connection_args()  # which makes `request_timeout` long enough for a start
    certificate = client.client_cert or ""
    return GatewayConfig(
        url=(url or client.url or "").rstrip("/"),
        ca_file=client.ca_certs or "",
        client_cert=certificate,
        client_key=(client.client_key or "") if certificate else "",
        verify=bool(client.validate_cert),
        request_timeout=float(client.request_timeout),
    )


def is_plain(client: GatewayClient) -> bool:
    """Return whether the server asks its gateway at the usual paths: others are not for this package."""
    return str(client.kernels_endpoint).rstrip("/") == "/api/kernels"
