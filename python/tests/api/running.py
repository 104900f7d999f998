"""A gateway in this process, with kernels on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

from jupyter_client import localinterfaces

from ci.gateway_client import Gateway
from gateway_provisioners.gateway.app import GatewayApp
from timeouts import eventually

TOKEN = "a-token-that-must-not-be-logged"


@dataclass
class Running:
    """A running gateway, a client of it, and one of its port for probes."""

    app: GatewayApp
    client: Gateway
    url: str
    probes: Gateway
    stopped: asyncio.Task

    def sockets(self):
        """Return the server sides of the open kernel websockets."""
        connection_class = self.app.kernel_websocket_connection_class
        return [
            connection.websocket_handler.ws_connection.stream.socket
            for kernel in self.app.kernel_manager._kernels.values()
            for connection in connection_class.of_kernel(kernel)
        ]

    async def without_kernels(self):
        """Wait until the last kernel is gone: a watcher ends those whose programs were killed."""

        async def is_empty():
            return not await self.client.kernels()

        await eventually(is_empty)


def _address_of_kernels():
    """Return a loopback address that only this process uses.

    A port of 127.0.0.1 that jupyter_client found free may be taken when the kernel binds it.
    """
    address = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    if not localinterfaces.is_local_ip(address):
        localinterfaces.local_ips().append(address)
    return address


@contextlib.asynccontextmanager
async def running_gateway(*, port=0, **traits):
    """Run a gateway with these traits; its kernels end with it."""
    traits = {
        "audit": "none",
        "auth_token": TOKEN,
        "default_kernel_name": "local",
        "health_port": 0,
        "ip": "127.0.0.1",
        **traits,
    }
    app = GatewayApp(port=port, **traits)
    app.initialize([])
    app.config.KernelManager.ip = _address_of_kernels()
    serving = asyncio.create_task(app.serve())
    started = asyncio.create_task(app.serving.wait())
    await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        started.cancel()
        await serving
    url = f"http://127.0.0.1:{app.port}"
    health_url = f"http://127.0.0.1:{app.health_port}"
    try:
        async with Gateway(url, app.auth_token) as client, Gateway(health_url, "") as probes:
            yield Running(app, client, url, probes, serving)
    finally:
        app.shutdown_kernels_on_exit = True
        app.request_stop()
        await serving


async def until_followed(kernel, channels):
    """Have a kernel run cells until the gateway sees that it is busy.

    The gateway follows the kernel on a connection of its own, which may come later than those of clients.
    """
    states = []
    kernel.observe(lambda change: states.append(change.new), "execution_state")
    while "busy" not in states:
        await channels.execute("0")
