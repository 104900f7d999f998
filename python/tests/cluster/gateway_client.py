"""A plain REST and websocket client of the gateway: what any program of a user might be."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass, field

import aiohttp

from timeouts import TIMEOUT_SECONDS, within_timeout


class Refused(Exception):
    """The gateway answered with an error status."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status = status
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        self.reason = answer.get("reason", "")
        self.message = answer.get("message", "")


@dataclass
class Result:
    """What one execution produced."""

    status: str = ""
    text: str = ""
    data: list = field(default_factory=list)
    error: str = ""


class Gateway:
    """One gateway with one token; `ssl` is the context of a client that trusts its certificate."""

    def __init__(self, url, token, *, ssl=True):
        self.url = url
        self.token = token
        self._ssl = ssl
        self._headers = {"Authorization": f"token {token}"} if token else {}

    async def __aenter__(self):
        # A connection that is kept leads to the same gateway of several, also when that one ends.
        connector = aiohttp.TCPConnector(force_close=True, ssl=self._ssl)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self

    async def __aexit__(self, *_):
        await self._session.close()

    async def request(self, method, path, body=None):
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with self._session.request(
            method, f"{self.url}{path}", json=body, timeout=timeout
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise Refused(response.status, text)
            with contextlib.suppress(ValueError):
                return json.loads(text)
            return text

    async def start(self, name="python3", **env):
        answer = await self.request("POST", "/api/kernels", {"name": name, "env": env})
        return answer["id"]

    async def kernels(self):
        return {kernel["id"]: kernel for kernel in await self.request("GET", "/api/kernels")}

    async def delete(self, kernel_id):
        await self.request("DELETE", f"/api/kernels/{kernel_id}")

    async def interrupt(self, kernel_id):
        await self.request("POST", f"/api/kernels/{kernel_id}/interrupt", {})

    async def restart(self, kernel_id):
        return await self.request("POST", f"/api/kernels/{kernel_id}/restart", {})

    @contextlib.asynccontextmanager
    async def channels(self, kernel_id):
        url = f"{self.url}/api/kernels/{kernel_id}/channels"
        async with self._session.ws_connect(url, max_msg_size=0) as websocket:
            yield Channels(websocket)

    @contextlib.asynccontextmanager
    async def kernel(self, name="python3", **env):
        """A started kernel with its channels open, deleted afterwards."""
        kernel_id = await self.start(name, **env)
        try:
            async with self.channels(kernel_id) as channels:
                channels.kernel_id = kernel_id
                yield channels
        finally:
            with contextlib.suppress(Refused):
                await self.delete(kernel_id)


class Channels:
    """An open websocket of one kernel."""

    def __init__(self, websocket):
        self._websocket = websocket
        self._session = uuid.uuid4().hex
        self.kernel_id = ""

    async def send(self, channel, msg_type, content, parent=None):
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

    async def receive(self):
        message = await within_timeout(self._websocket.receive())
        if message.type is not aiohttp.WSMsgType.TEXT:
            msg = f"websocket closed: {message.type} {message.data} {message.extra}"
            raise ConnectionError(msg)
        return json.loads(message.data)

    async def execute(self, code, *, answer=None, on_busy=None):
        """Run `code` to its end.

        Args:
            answer: what to say when the kernel asks for input.
            on_busy: awaited once, when the code has printed something: an interrupt that comes before the
                code runs, or after it, hits ipykernel itself, which then never replies.
        """
        request = await self.send(
            "shell",
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "allow_stdin": answer is not None,
                "user_expressions": {},
            },
        )
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
            elif msg_type == "stream":
                result.text += content["text"]
                if on_busy is not None:
                    await on_busy()
                    on_busy = None
            elif msg_type in {"execute_result", "display_data"}:
                result.data.append(content["data"])
            elif msg_type == "error":
                result.error = content["ename"]
            elif msg_type == "execute_reply":
                replied, result.status = True, content["status"]
        return result

    async def request_reply(self, channel, msg_type, content):
        """Send a request that has one reply, and return the reply's content."""
        request = await self.send(channel, msg_type, content)
        while True:
            message = await self.receive()
            if message["parent_header"].get("msg_id") == request and message["channel"] == channel:
                return message["content"]
