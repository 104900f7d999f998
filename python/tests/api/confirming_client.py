"""A websocket client that asks for confirmations: what it receives, confirms, and sends again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ci.gateway_client import Gateway
from gateway_provisioners.gateway.websocket import serialization
from timeouts import within_timeout


class Closed(Exception):
    """The websocket was closed, with this code."""


@dataclass
class Message:
    """A message of the kernel, or of the gateway in its place."""

    channel: str
    header: dict[str, Any]
    parent: str
    content: dict[str, Any]

    @property
    def kind(self):
        return self.header["msg_type"]


@dataclass
class ConfirmingClient:
    """One websocket.

    Attributes:
        received: the number of messages of the kernel.
        attached: the contents of the frames `attached`.
        accepted: the ids in all frames `accepted`.
        messages: those that were received, in order.
    """

    websocket: aiohttp.ClientWebSocketResponse
    received: int = 0
    attached: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    async def next(self):
        """Receive a frame; return the message if it is one."""
        frame = await within_timeout(self.websocket.receive())
        if frame.type is aiohttp.WSMsgType.BINARY:
            self.received += 1
            channel, parts = serialization.from_v1(frame.data)
            header, parent, _, content = (json.loads(bytes(part)) for part in parts[:4])
            self.messages.append(Message(channel, header, parent.get("msg_id", ""), content))
            return self.messages[-1]
        if frame.type is aiohttp.WSMsgType.TEXT:
            content = json.loads(frame.data)
            if "attached" in content:
                self.attached.append(content["attached"])
            self.accepted += content.get("accepted", [])
            return None
        raise Closed(self.websocket.close_code, frame.data)

    async def until(self, condition):
        """Receive until the condition holds."""
        while not condition():
            await self.next()

    async def end_of(self, request):
        """Receive until a request has ended; return its messages."""

        def of_request():
            return [message for message in self.messages if message.parent == request]

        def has_ended():
            states = [message.content.get("execution_state") for message in of_request()]
            return "idle" in states and any(m.kind.endswith("_reply") for m in of_request())

        await self.until(has_ended)
        return of_request()

    async def tell(self, **frame):
        """Send a text frame."""
        await self.websocket.send_str(json.dumps(frame))

    async def confirm(self):
        """Confirm all that was received."""
        await self.tell(received=self.received)

    async def execute(self, code, request=None):
        """Send a request, perhaps again; return its id."""
        request = request or uuid.uuid4().hex
        header = {
            "msg_id": request,
            "msg_type": "execute_request",
            "session": "a-client-session",
            "username": "",
            "version": "5.3",
            "date": "2026-11-30T00:00:00Z",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        await self.websocket.send_bytes(b"".join(serialization.to_v1("shell", parts)))
        return request

    async def resend(self, attempt, requests):
        """Send requests again, whose codes these are by their ids."""
        await self.tell(resend={"attempt": attempt, "ids": list(requests)})
        for request, code in requests.items():
            await self.execute(code, request)


@contextlib.asynccontextmanager
async def confirming_client(
    url, token, kernel_id, session="a-client-session", features="confirm", protocols=None
):
    """Connect to a kernel; the websocket is cut in the end, and not closed."""
    path = f"{url}/api/kernels/{kernel_id}/channels?session_id={session}&features={features}"
    protocols = [serialization.V1] if protocols is None else protocols
    async with Gateway(url, token) as gateway:
        websocket = await within_timeout(
            gateway._session.ws_connect(path, max_msg_size=0, protocols=protocols)
        )
        try:
            yield ConfirmingClient(websocket)
        finally:
            cut(websocket)


def cut(websocket):
    """Break the connection without a word."""
    connection = websocket._response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class CuttingProxy:
    """Passes TCP connections on to a port, and cuts them.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target):
        self._target = target
        self._writers = set()
        self._tasks = set()
        self._server = None
        self.port = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        """Reset all connections; what is on its way in either direction is lost."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        reader_there, writer_there = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, writer_there}
        await asyncio.gather(
            self._copy(reader, writer_there),
            self._copy(reader_there, writer),
            return_exceptions=True,
        )
        for each in (writer, writer_there):
            self._writers.discard(each)
            each.close()

    async def _copy(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
