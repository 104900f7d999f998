"""A plain REST and websocket client of a gateway, such as users may write: for tests and the bench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import aiohttp

# The limit of each request, and of each wait for a message.
TIMEOUT_SECONDS = 240.0

Object = dict[str, Any]


class Refused(Exception):
    """The gateway answered with an error status."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        self.reason: str = answer.get("reason", "")
        self.message: str = answer.get("message", "")
        words = f"{self.reason}: {' '.join(self.message.split())}" if self.reason else body
        super().__init__(f"{status} {words}")


@dataclass
class Result:
    """The outputs of one execution, and the seconds until the first of them and until its end."""

    status: str = ""
    text: str = ""
    data: list[Object] = field(default_factory=list)
    error: str = ""
    first_output_seconds: float = 0
    seconds: float = 0

    def add(self, msg_type: str, content: Object, seconds: float) -> None:
        """Add an output that came after so many seconds; other messages are ignored."""
        if msg_type == "stream":
            self.text += content["text"]
        elif msg_type in {"execute_result", "display_data"}:
            self.data.append(content["data"])
        elif msg_type == "error":
            self.error = content["ename"]
        else:
            return
        self.first_output_seconds = self.first_output_seconds or seconds


class Channels:
    """An open websocket of one kernel."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._websocket = websocket
        self._session = uuid.uuid4().hex
        self._last: Object = {}
        self.kernel_id = ""

    async def send(
        self, channel: str, msg_type: str, content: Object, parent: Object | None = None
    ) -> str:
        """Send a message; return its id."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "username": "test",
            "session": self._session,
            "msg_type": msg_type,
            "version": "5.3",
        }
        await self._websocket.send_json(
            {
                "channel": channel,
                "header": header,
                "parent_header": parent or {},
                "metadata": {},
                "content": content,
                "buffers": [],
            }
        )
        return header["msg_id"]

    async def receive(self) -> Object:
        """Return the next message.

        Raises ConnectionError when the websocket is closed, and TimeoutError when nothing comes.
        """
        # Not aiohttp's own timeout, which begins anew with each ping of the gateway.
        try:
            message = await asyncio.wait_for(self._websocket.receive(), TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            last = json.dumps(self._last)[:500]
            msg = f"no message came for {TIMEOUT_SECONDS:g} seconds; the last one began: {last}"
            raise TimeoutError(msg) from None
        if message.type is not aiohttp.WSMsgType.TEXT:
            msg = f"websocket closed: {message.type} {message.data} {message.extra}"
            raise ConnectionError(msg)
        received: Object = json.loads(message.data)
        self._last = received
        return received

    async def execute(
        self,
        code: str,
        *,
        answer: str | None = None,
        on_busy: Callable[[], Awaitable[object]] | None = None,
    ) -> Result:
        """Run `code` to its end: until both the reply and `status: idle` are there.

        Args:
            answer: sent when the kernel asks for input.
            on_busy: awaited once, when the code has printed something: an interrupt that comes before the
                code runs, or after it, hits ipykernel itself, which then never replies.
        """
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "allow_stdin": answer is not None,
            "user_expressions": {},
        }
        begin = time.perf_counter()
        request = await self.send("shell", "execute_request", content)
        result = Result()
        replied = idle = False
        while not (replied and idle):
            message = await self.receive()
            msg_type, content = message["header"]["msg_type"], message["content"]
            if msg_type == "input_request":
                await self.send("stdin", "input_reply", {"value": answer}, message["header"])
            if message["parent_header"].get("msg_id") != request:
                continue
            if msg_type == "status":
                idle = content["execution_state"] == "idle"
            elif msg_type == "execute_reply":
                replied, result.status = True, content["status"]
            else:
                result.add(msg_type, content, time.perf_counter() - begin)
            if msg_type == "stream" and on_busy is not None:
                await on_busy()
                on_busy = None
        result.seconds = time.perf_counter() - begin
        return result

    async def request_reply(self, channel: str, msg_type: str, content: Object) -> Object:
        """Send a request that has one reply, and return the reply's content."""
        request = await self.send(channel, msg_type, content)
        while True:
            message = await self.receive()
            if message["parent_header"].get("msg_id") == request and message["channel"] == channel:
                reply: Object = message["content"]
                return reply


class Gateway:
    """One gateway with one token; `ssl` is the context of a client that trusts its certificate."""

    _session: aiohttp.ClientSession

    def __init__(self, url: str, token: str, *, ssl: SSLContext | bool = True) -> None:
        self.url = url
        self.token = token
        self._ssl = ssl
        self._headers = {"Authorization": f"token {token}"} if token else {}

    async def __aenter__(self) -> Gateway:
        # A connection for each request, as Jupyter's own clients have it: one that is kept leads to the same
        # gateway of several, also when that one ends.
        connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=self._ssl)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def progress(self, kernel_id: str) -> AsyncGenerator[Object, None]:
        """Yield the events of the progress of a kernel's start; raises Refused for an error status."""
        path = f"{self.url}/api/kernels/{kernel_id}/progress"
        timeout = aiohttp.ClientTimeout(sock_read=TIMEOUT_SECONDS)
        async with self._session.get(path, timeout=timeout) as response:
            if response.status >= 400:
                raise Refused(response.status, await response.text())
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    async def request(self, method: str, path: str, body: Object | None = None) -> Any:
        """Return the answer's JSON, or its text.

        Raises Refused for an error status, and TimeoutError when no answer comes.
        """
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with self._session.request(
                method, f"{self.url}{path}", json=body, timeout=timeout
            ) as response:
                text = await response.text()
        except asyncio.TimeoutError:
            msg = f"{method} {path} was not answered within {TIMEOUT_SECONDS:g} seconds"
            raise TimeoutError(msg) from None
        if response.status >= 400:
            raise Refused(response.status, text)
        with contextlib.suppress(ValueError):
            return json.loads(text)
        return text

    async def start(self, name: str = "python3", **env: str) -> str:
        """Start a kernel; return its id."""
        answer = await self.request("POST", "/api/kernels", {"name": name, "env": env})
        kernel_id: str = answer["id"]
        return kernel_id

    async def kernels(self) -> dict[str, Object]:
        """Return the kernels that the gateway lists, by their ids."""
        return {kernel["id"]: kernel for kernel in await self.request("GET", "/api/kernels")}

    async def delete(self, kernel_id: str) -> None:
        """Shut a kernel down."""
        await self.request("DELETE", f"/api/kernels/{kernel_id}")

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel."""
        await self.request("POST", f"/api/kernels/{kernel_id}/interrupt", {})

    async def restart(self, kernel_id: str) -> Object:
        """Restart a kernel; return its model."""
        model: Object = await self.request("POST", f"/api/kernels/{kernel_id}/restart", {})
        return model

    @contextlib.asynccontextmanager
    async def channels(self, kernel_id: str, session_id: str = "") -> AsyncIterator[Channels]:
        """Open a kernel's websocket; a client that comes back gives the session id it had."""
        url = f"{self.url}/api/kernels/{kernel_id}/channels"
        query = {"session_id": session_id} if session_id else {}
        async with self._session.ws_connect(url, params=query, max_msg_size=0) as websocket:
            yield Channels(websocket)

    @contextlib.asynccontextmanager
    async def kernel(self, name: str = "python3", **env: str) -> AsyncIterator[Channels]:
        """Start a kernel with its channels open, for the length of the block."""
        kernel_id = await self.start(name, **env)
        try:
            async with self.channels(kernel_id) as channels:
                channels.kernel_id = kernel_id
                yield channels
        finally:
            with contextlib.suppress(Refused):
                await self.delete(kernel_id)
