"""A gateway's websocket that does what a test says, and notes what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiohttp import web
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.session import words
from gateway_provisioners_client.session.connection import RemoteKernel
from gateway_provisioners_client.session.frames import from_v1, to_v1

from timeouts import within_timeout

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"


class Connection:
    """One websocket of a client."""

    def __init__(self, websocket):
        self._websocket = websocket
        self._messages = asyncio.Queue()
        self._texts = asyncio.Queue()

    async def read(self):
        async for message in self._websocket:
            if isinstance(message.data, bytes):
                self._messages.put_nowait(from_v1(message.data))
            else:
                self._texts.put_nowait(json.loads(message.data))

    async def message(self):
        """Return the header of the next message of the client."""
        _, parts = await within_timeout(self._messages.get())
        return parts[0]

    async def text(self, key):
        """Return the value of the next text frame with this key."""
        while True:
            value = await within_timeout(self._texts.get())
            if key in value:
                return value[key]

    async def say(self, key, value):
        await self._websocket.send_str(json.dumps({key: value}))

    async def attach(self, attempt, *, confirms=True, **fields):
        await self.say(
            "attached", {"attempt": attempt, "confirms": confirms, "mailbox": True, **fields}
        )

    async def send(self, channel, parts):
        await self._websocket.send_bytes(to_v1(channel, parts))

    async def send_bytes(self, data):
        await self._websocket.send_bytes(data)

    async def send_text(self, text):
        await self._websocket.send_str(text)

    async def close(self):
        await self._websocket.close()


class ScriptedGateway:
    """Accepts websockets, one after the other."""

    def __init__(self, features):
        self.features = features
        self.exists = True
        self.port = 0
        self._connections = asyncio.Queue()

    async def connection(self):
        """Return the next websocket of the client."""
        return await within_timeout(self._connections.get())

    async def channels(self, request):
        if not self.exists:
            return web.Response(status=404)
        websocket = web.WebSocketResponse(protocols=[SUBPROTOCOL], max_msg_size=0)
        if self.features:
            websocket.headers["X-Gateway-Features"] = self.features
        await websocket.prepare(request)
        connection = Connection(websocket)
        self._connections.put_nowait(connection)
        await connection.read()
        return websocket

    async def kernel(self, _):
        return web.json_response({"id": "k"}) if self.exists else web.Response(status=404)


class Client:
    """A RemoteKernel, what it delivered and the states that it went through."""

    def __init__(self, api):
        self.delivered = asyncio.Queue()
        self.states = []
        self.remote = RemoteKernel(
            api,
            "k",
            "s",
            deliver=lambda channel, parts: self.delivered.put_nowait((channel, parts)),
            state=self.states.append,
        )

    async def execute(self, code="1"):
        """Send a cell; return its header."""
        parts = words.message("execute_request", b"{}", {"code": code})
        await within_timeout(self.remote.send("shell", parts))
        return parts[0]

    async def next(self):
        """Return the channel, type, parent header and content of the next message."""
        channel, parts = await within_timeout(self.delivered.get())
        msg_type = json.loads(parts[0])["msg_type"]
        return channel, msg_type, parts[1], json.loads(parts[3])

    async def until(self, msg_type):
        """Return the content of the next message of this type."""
        while True:
            _, each, _, content = await self.next()
            if each == msg_type:
                return content


def id_of(header):
    return json.loads(header)["msg_id"]


@contextlib.asynccontextmanager
async def scripted(features="confirm"):
    """Give a scripted gateway and a client of it."""
    gateway = ScriptedGateway(features)
    app = web.Application()
    app.router.add_get("/api/kernels/k/channels", gateway.channels)
    app.router.add_get("/api/kernels/k", gateway.kernel)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gateway.port = runner.addresses[0][1]
    try:
        async with GatewayApi(GatewayConfig(f"http://127.0.0.1:{gateway.port}")) as api:
            client = Client(api)
            running = asyncio.create_task(client.remote.run())
            yield gateway, client
            await client.remote.close()
            await within_timeout(running)
    finally:
        await runner.cleanup()
