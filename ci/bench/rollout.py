"""The gaps that clients notice while a gateway's processes are replaced by new ones."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

from ci.bench import replicas
from ci.bench.api import wait_until
from ci.bench.client import FAILURES, Gateway, compute
from ci.bench.deploy import Side, Sides
from ci.bench.measure import SETTLE_SECONDS, Samples
from ci.commands import CommandError
from ci.progress import step
from gateway_provisioners.model.pod.kernel_state import KERNEL_ID_LABEL

CLIENTS = 5
REPLICAS = (1, 3)
ROUNDS = 2
_PAUSE_SECONDS = 0.05
_RECONNECT_SECONDS = 0.1


class Client:
    """Runs a small cell over and over; connects again where it is cut off, at once and then every 100 ms."""

    def __init__(self, gateway: Gateway, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self._gateway = gateway
        self._session_id = uuid.uuid4().hex
        self.results: list[float] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        pause = 0.0
        while True:
            try:
                async with self._gateway.channels(self.kernel_id, self._session_id) as channels:
                    if not self.results:
                        await compute(channels, "x = 2\nx")
                    while True:
                        # Only the kernel's first process knows it.
                        await compute(channels, "x")
                        self.results.append(time.perf_counter())
                        pause = 0.0
                        await asyncio.sleep(_PAUSE_SECONDS)
            except (CommandError, *FAILURES):
                await asyncio.sleep(pause)
                pause = _RECONNECT_SECONDS

    def has_result_since(self, moment: float) -> bool:
        """Return whether the kernel answered after that."""
        return bool(self.results) and self.results[-1] > moment

    def longest_gap(self) -> float:
        """Return the longest time from one result to the next."""
        pairs = zip(self.results, self.results[1:], strict=False)
        return max(later - earlier for earlier, later in pairs)


async def _found_or_gone(side: Side, clients: Sequence[Client]) -> None:
    """Return when each client has a result again, or its kernel has no pod any more."""
    now = time.perf_counter()

    async def decided() -> bool:
        pods = {pod["metadata"]["labels"][KERNEL_ID_LABEL] for pod in await side.kernel_pods()}
        return all(
            client.has_result_since(now) or client.kernel_id not in pods for client in clients
        )

    await wait_until(decided, f"the clients of {side.name} have results, or no kernels")


async def _roll_out(samples: Samples, side: Side, count: int) -> None:
    started = await asyncio.gather(*(side.gateway.start_kernel() for _ in range(CLIENTS)))
    clients = [Client(side.gateway, kernel_id) for kernel_id in started]
    runs = [asyncio.create_task(client.run()) for client in clients]
    try:
        await _found_or_gone(side, clients)
        await asyncio.sleep(SETTLE_SECONDS)
        await replicas.roll_out(side)
        end = time.perf_counter()
        await _found_or_gone(side, clients)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    kept = [client for client in clients if client.has_result_since(end)]
    samples[f"rollout_{count}_gap"][side.name] += [client.longest_gap() for client in kept]
    samples[f"rollout_{count}_lost"][side.name] += [CLIENTS - len(kept)]


async def rollout(samples: Samples, sides: Sides) -> None:
    """Roll each gateway out under clients that work."""
    for count in REPLICAS:
        with step(f"Rollouts under {CLIENTS} clients, replicas: {count}, {ROUNDS} rounds"):
            for side in sides:
                await replicas.scale(side, count)
            for _ in range(ROUNDS):
                for side in sides:
                    await _roll_out(samples, side, count)
                    await side.remove_kernel_pods()
    for side in sides:
        await replicas.scale(side, 1)
