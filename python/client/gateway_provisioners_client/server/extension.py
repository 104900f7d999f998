"""The places at which this package enters a Jupyter server; a server without a gateway stays as it is."""

from __future__ import annotations

from typing import Any

from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.gateway.managers import GatewayMappingKernelManager
from jupyter_server.serverapp import ServerApp

from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.server.credentials import config_of, is_plain
from gateway_provisioners_client.server.handlers import handlers_of
from gateway_provisioners_client.server.services import Services

# The client of gateways takes a moment to import: only a server in gateway mode needs it at its start.
_MANAGERS = "gateway_provisioners_client.server.managers"

# jupyter_server's classes in gateway mode. A class that the operator has configured stays.
_STOCK = {
    "kernel_manager_class": GatewayMappingKernelManager,
    "kernel_websocket_connection_class": GatewayWebSocketConnection,
}


def link(serverapp: ServerApp) -> None:
    """Wait for the moment at which the server knows its gateway, and has not made its kernel manager yet."""
    # Upstream: the next attribute that it sets after `gateway_config`, which cannot be observed.
    serverapp.observe(_choose_classes, "kernel_spec_manager")


def _choose_classes(change: Any) -> None:
    serverapp = change.owner
    client = getattr(serverapp, "gateway_config", None)
    if client is None or not client.gateway_enabled or hasattr(serverapp, "kernel_manager"):
        return
    if not is_plain(client):
        return
    if any(getattr(serverapp, trait) is not stock for trait, stock in _STOCK.items()):
        serverapp.log.warning(
            "gateway-provisioners-client leaves gateway mode as it is: the server has a configured "
            "kernel manager or connection class."
        )
        return
    try:
        config_of(client)
    except ClientError as error:
        serverapp.log.warning("gateway-provisioners-client leaves gateway mode as it is: %s", error)
        return
    from gateway_provisioners_client.server.connection import ResumedConnection
    from gateway_provisioners_client.server.managers import ResumedKernels

    serverapp.kernel_manager_class = ResumedKernels
    serverapp.kernel_websocket_connection_class = ResumedConnection


def load(serverapp: ServerApp) -> None:
    """Add the handlers to the server's web application."""
    handlers = handlers_of(serverapp.base_url)
    resumed = None
    if type(serverapp.kernel_manager).__module__ == _MANAGERS:
        from gateway_provisioners_client.server.websocket import websocket_handlers

        resumed = serverapp.kernel_manager
        handlers += websocket_handlers(serverapp.base_url)
    serverapp.web_app.settings["gateway_provisioners_client"] = Services(serverapp, resumed)
    serverapp.web_app.add_handlers(".*$", handlers)
