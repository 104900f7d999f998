"""The bench's client of a gateway, the same for both sides: starts, restarts and executions, timed."""

from __future__ import annotations

import asyncio
import copy
import re
import time
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from ci import gateway_client
from ci.commands import CommandError
from ci.gateway_client import Channels, Refused, Result

CODE = "1+1"
# gateway.healthPort of the chart.
HEALTH_PORT = 8889
RESULT = "2"
USERNAME = "bench"
TRIES = 3
# The errors of requests to a gateway or kernel that fails.
FAILURES = (Refused, ConnectionError, aiohttp.ClientError, asyncio.TimeoutError)


@dataclass(frozen=True)
class Start:
    """A started kernel: seconds from its POST on until that was answered, and until the result of 1+1."""

    kernel_id: str
    answered: float
    first_result: float


async def compute(channels: Channels, code: str = CODE) -> Result:
    """Run code that gives or prints 2. Raises CommandError when it does not."""
    result = await channels.execute(code)
    outputs = [result.text, *(data.get("text/plain") for data in result.data)]
    if RESULT not in outputs:
        raise CommandError(f"{code} gave {outputs} {result.error}")
    return result


class Gateway(gateway_client.Gateway):
    """A gateway, and the kernel that is started at it."""

    def __init__(self, url: str, token: str, kernel_name: str, username: str = USERNAME) -> None:
        super().__init__(url, token)
        self._kernel_name = kernel_name
        # With `env` Jupyter Kernel Gateway gives the kernel these variables; without it, its own.
        self._env = {"KERNEL_USERNAME": username}
        self.failures: list[str] = []

    async def start_kernel(self) -> str:
        """Start a kernel and return its id; one that fails is tried again, as a person would, and counted."""
        for _ in range(TRIES - 1):
            try:
                return await self.start(self._kernel_name, **self._env)
            except Refused as error:
                self.failures.append(str(error))
        return await self.start(self._kernel_name, **self._env)

    async def start_and_execute(self, code: str = CODE) -> Start:
        """Start a kernel, connect to it and run what gives or prints 2; the kernel goes on."""
        begin = time.perf_counter()
        kernel_id = await self.start_kernel()
        answered = time.perf_counter() - begin
        return Start(kernel_id, answered, await self._first_result(kernel_id, code, begin))

    async def restart_and_execute(self, kernel_id: str) -> float:
        """Restart a kernel, connect to it anew and run 1+1; return the seconds until its result."""
        begin = time.perf_counter()
        await self.restart(kernel_id)
        return await self._first_result(kernel_id, CODE, begin)

    async def _first_result(self, kernel_id: str, code: str, begin: float) -> float:
        async with self.channels(kernel_id) as channels:
            connected = time.perf_counter() - begin
            return connected + (await compute(channels, code)).first_output_seconds

    async def refusal(self) -> float:
        """Start a kernel that cannot start; return the seconds until the client gets the error."""
        begin = time.perf_counter()
        try:
            kernel_id = await self.start(self._kernel_name, **self._env)
        except Refused:
            return time.perf_counter() - begin
        raise CommandError(f"the kernel {kernel_id} started, and should not have")

    @property
    def _probes(self) -> str:
        return f"{self.url.rpartition(':')[0]}:{HEALTH_PORT}"

    def at(self, url: str) -> Gateway:
        """Return the same at another address, such as that of one of its pods."""
        other = copy.copy(self)
        other.url = url
        return other

    def with_kernel(self, name: str) -> Gateway:
        """Return the same for another kernel of it."""
        other = copy.copy(self)
        other._kernel_name = name
        return other

    async def is_ready(self) -> bool:
        """Return whether its `/readyz` answers with 200; its URL must be that of a pod."""
        async with self._session.get(f"{self._probes}/readyz") as answer:
            return answer.status == HTTPStatus.OK

    async def memory(self) -> float:
        """Return the bytes of memory that its process holds; its URL must be that of a pod."""
        async with self._session.get(f"{self._probes}/metrics") as answer:
            metrics = await answer.text()
        found = re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)
        if found is None:
            raise CommandError("/metrics does not have the memory of the process")
        return float(found[1])

    async def delete_all(self) -> None:
        """Delete every kernel that the gateway lists."""
        for kernel_id in await self.kernels():
            await self.delete(kernel_id)
