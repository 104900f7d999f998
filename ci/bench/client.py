"""A client of a gateway, the same for both: plain REST and one websocket per kernel."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from ci.commands import CommandError

CODE = "1+1"
RESULT = "2"
USERNAME = "bench"
PATIENCE_SECONDS = 150.0
TRIES = 3


@dataclass(frozen=True)
class Start:
    """A started kernel: seconds from its POST on until that was answered, and until the result of 1+1."""

    kernel_id: str
    answered: float
    first_result: float


class Channels:
    """An open websocket of one kernel."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._websocket = websocket
        self._session = uuid.uuid4().hex

    async def _send(self, code: str) -> str:
        msg_id = uuid.uuid4().hex
        await self._websocket.send_json(
            {
                "channel": "shell",
                "header": {
                    "msg_id": msg_id,
                    "username": USERNAME,
                    "session": self._session,
                    "msg_type": "execute_request",
                    "version": "5.3",
                },
                "parent_header": {},
                "metadata": {},
                "content": {
                    "code": code,
                    "silent": False,
                    "store_history": True,
                    "allow_stdin": False,
                    "user_expressions": {},
                },
                "buffers": [],
            }
        )
        return msg_id

    async def execute(self, code: str = CODE) -> tuple[float, float]:
        """Run what gives 2; return the seconds until that, and until both the reply and `status: idle`."""
        begin = time.perf_counter()
        msg_id = await self._send(code)
        result = None
        replied = idle = False
        while not (replied and idle):
            message = await self._websocket.receive(timeout=PATIENCE_SECONDS)
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise CommandError(f"the websocket was closed: {message.data} {message.extra}")
            said: dict[str, Any] = json.loads(message.data)
            if said["parent_header"].get("msg_id") != msg_id:
                continue
            match said["header"]["msg_type"]:
                case "execute_result":
                    if said["content"]["data"]["text/plain"] != RESULT:
                        raise CommandError(f"{code} gave {said['content']['data']}")
                    result = time.perf_counter() - begin
                case "stream" if said["content"]["text"] == RESULT:
                    result = time.perf_counter() - begin
                case "execute_reply":
                    replied = True
                case "status":
                    idle = said["content"]["execution_state"] == "idle"
        if result is None:
            raise CommandError(f"{code} gave no result")
        return result, time.perf_counter() - begin


class Gateway:
    """A gateway, and the kernel that is started at it."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, kernel_name: str, username: str = USERNAME
    ) -> None:
        self._session = session
        self._url = url
        self._kernel_name = kernel_name
        self._username = username
        self.failures: list[str] = []

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with self._session.request(
            method, f"{self._url}{path}", json=body, timeout=timeout
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise CommandError(f"{method} {path}: {answer.status} {text[:500]}")
            return json.loads(text) if text else None

    async def start(self) -> str:
        """Start a kernel and return its id; one that fails is tried again, as a person would, and counted."""
        for _ in range(TRIES - 1):
            try:
                return await self._start()
            except CommandError as error:
                self.failures.append(str(error))
        return await self._start()

    async def _start(self) -> str:
        # With `env` Jupyter Kernel Gateway gives the kernel these variables; without it, its own.
        body = {"name": self._kernel_name, "env": {"KERNEL_USERNAME": self._username}}
        kernel: dict[str, Any] = await self._ask("POST", "/api/kernels", body)
        kernel_id: str = kernel["id"]
        return kernel_id

    async def start_and_execute(self, code: str = CODE) -> Start:
        """Start a kernel, connect to it and run what gives or prints 2; the kernel goes on."""
        begin = time.perf_counter()
        kernel_id = await self.start()
        answered = time.perf_counter() - begin
        return Start(kernel_id, answered, await self._first_result(kernel_id, code, begin))

    async def restart_and_execute(self, kernel_id: str) -> float:
        """Restart a kernel, connect to it anew and run 1+1; return the seconds until its result."""
        begin = time.perf_counter()
        await self._ask("POST", f"/api/kernels/{kernel_id}/restart")
        return await self._first_result(kernel_id, CODE, begin)

    async def _first_result(self, kernel_id: str, code: str, begin: float) -> float:
        async with self.channels(kernel_id) as channels:
            connected = time.perf_counter() - begin
            result, _ = await channels.execute(code)
        return connected + result

    async def refusal(self) -> float:
        """Start a kernel that cannot start; return the seconds until the client gets the error."""
        begin = time.perf_counter()
        try:
            kernel_id = await self._start()
        except CommandError:
            return time.perf_counter() - begin
        raise CommandError(f"the kernel {kernel_id} started, and should not have")

    @asynccontextmanager
    async def channels(self, kernel_id: str, session_id: str = "") -> AsyncIterator[Channels]:
        """Open a kernel's websocket; a client that comes back shows the session it had."""
        url = f"{self._url}/api/kernels/{kernel_id}/channels"
        query = {"session_id": session_id} if session_id else {}
        async with self._session.ws_connect(url, params=query, max_msg_size=0) as websocket:
            yield Channels(websocket)

    def at(self, url: str) -> Gateway:
        """Return the same at another address, such as that of one of its pods."""
        return Gateway(self._session, url, self._kernel_name, self._username)

    def with_kernel(self, name: str) -> Gateway:
        """Return the same for another kernel of it."""
        return Gateway(self._session, self._url, name, self._username)

    async def is_ready(self) -> bool:
        """Ask it."""
        async with self._session.get(f"{self._url}/readyz") as answer:
            return answer.status == HTTPStatus.OK

    async def memory(self) -> float:
        """Return the bytes of memory that its process holds."""
        async with self._session.get(f"{self._url}/metrics") as answer:
            found = re.search(
                r"^process_resident_memory_bytes (\S+)$", await answer.text(), re.MULTILINE
            )
        if found is None:
            raise CommandError(f"/metrics: {answer.status}, without the memory of the process")
        return float(found[1])

    async def kernels(self) -> set[str]:
        """Return the ids of all kernels that the gateway lists."""
        return {kernel["id"] for kernel in await self._ask("GET", "/api/kernels")}

    async def delete_all(self) -> None:
        """Delete every kernel that the gateway lists."""
        for kernel_id in await self.kernels():
            await self.delete(kernel_id)

    async def delete(self, kernel_id: str) -> None:
        """Delete a kernel."""
        await self._ask("DELETE", f"/api/kernels/{kernel_id}")
