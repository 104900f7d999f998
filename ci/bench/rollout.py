"""What clients notice while a gateway's processes are replaced by new ones."""

from __future__ import annotations

import asyncio
import time
import uuid

import aiohttp

from ci.bench import replicas
from ci.bench.client import Gateway
from ci.bench.deploy import Side, Sides
from ci.bench.measure import SETTLE_SECONDS, Samples
from ci.commands import CommandError
from ci.progress import step

CLIENTS = 5
REPLICAS = (1, 3)
ROUNDS = 2
_PAUSE_SECONDS = 0.05
_RECONNECT_SECONDS = 0.1
# How long after a rollout a kernel may still be found again; what takes longer counts as lost.
_PATIENCE_SECONDS = 40


class Client:
    """Runs a small cell over and over; connects again where it is cut off, at once and then every 100 ms."""

    def __init__(self, gateway: Gateway, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self._gateway = gateway
        self._session_id = uuid.uuid4().hex
        self._results: list[float] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Go on until cancelled."""
        pause = 0.0
        while True:
            try:
                async with self._gateway.channels(self.kernel_id, self._session_id) as channels:
                    if not self._results:
                        await channels.execute("x = 2\nx")
                    while True:
                        # Only the kernel as it was at first knows it.
                        await channels.execute("x")
                        self._results.append(time.perf_counter())
                        self._news.set()
                        pause = 0.0
                        await asyncio.sleep(_PAUSE_SECONDS)
            except (CommandError, aiohttp.ClientError, asyncio.TimeoutError):
                await asyncio.sleep(pause)
                pause = _RECONNECT_SECONDS

    async def wait_for_result(self) -> None:
        """Return at the next result."""
        self._news.clear()
        await self._news.wait()

    def longest_gap(self) -> float:
        """Return the longest time from one result to the next."""
        pairs = zip(self._results, self._results[1:], strict=False)
        return max(later - earlier for earlier, later in pairs)


async def _roll_out(samples: Samples, side: Side, count: int) -> None:
    started = await asyncio.gather(*(side.gateway.start() for _ in range(CLIENTS)))
    clients = [Client(side.gateway, kernel_id) for kernel_id in started]
    runs = [asyncio.create_task(client.run()) for client in clients]
    try:
        await asyncio.wait_for(
            asyncio.gather(*(client.wait_for_result() for client in clients)), _PATIENCE_SECONDS
        )
        await asyncio.sleep(SETTLE_SECONDS)
        await replicas.roll_out(side)
        results = [asyncio.create_task(client.wait_for_result()) for client in clients]
        _, without = await asyncio.wait(results, timeout=_PATIENCE_SECONDS)
        kept = [client for client, found in zip(clients, results, strict=True) if found.done()]
        for late in without:
            late.cancel()
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    samples[f"rollout_{count}_gap"][side.name] += [client.longest_gap() for client in kept]
    samples[f"rollout_{count}_lost"][side.name] += [CLIENTS - len(kept)]


async def rollout(samples: Samples, sides: Sides) -> None:
    """Roll each gateway out under clients that work."""
    for count in REPLICAS:
        with step(f"Rollout under {CLIENTS} clients, {count} replicas, {ROUNDS} rounds"):
            for side in sides:
                await replicas.scale(side, count)
            for _ in range(ROUNDS):
                for side in sides:
                    await _roll_out(samples, side, count)
                    await side.discard_kernels()
    for side in sides:
        await replicas.scale(side, 1)
