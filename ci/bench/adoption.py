"""The time until a gateway that starts serves all kernels that run already.

Measured from the request for its pod, when the pod before it is gone, until its `/readyz` says 200 and it
lists every kernel.
"""

from __future__ import annotations

import time
from functools import partial

import aiohttp

from ci.bench import replicas
from ci.bench.api import wait_until
from ci.bench.client import Gateway
from ci.bench.deploy import Side
from ci.bench.measure import Samples, fill
from ci.bench.simulated_kernels import Model, simulated_kernels
from ci.clusters import Cluster
from ci.peer.deploy import PORT
from ci.progress import step

REAL = (0, 1, 50)
SIMULATED = 500
ROUNDS = 3
_LOOK_SECONDS = 0.02


class _Newcomer:
    """The only process of a gateway, from the request for it on."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.gateway: Gateway | None = None

    async def serves(self, count: int) -> bool:
        """Return whether it is ready and lists that many kernels."""
        if self.gateway is None:
            for pod in await replicas.pods(self._side):
                if ip := pod["status"].get("podIP"):
                    self.gateway = self._side.gateway.at(f"http://{ip}:{PORT}")
        if self.gateway is None:
            return False
        try:
            return await self.gateway.is_ready() and len(await self.gateway.kernels()) == count
        except aiohttp.ClientConnectionError:
            return False


async def _measure(samples: Samples, side: Side, count: int) -> None:
    for _ in range(ROUNDS):
        await replicas.scale(side, 0)
        newcomer = _Newcomer(side)
        begin = time.perf_counter()
        await replicas.ask_for(side, 1)
        await wait_until(
            partial(newcomer.serves, count),
            f"the gateway serves {count} kernels",
            look_seconds=_LOOK_SECONDS,
        )
        samples[f"adoption_{count}"][side.name] += [time.perf_counter() - begin]
        assert newcomer.gateway is not None  # noqa: S101 - it serves
        samples[f"adoption_{count}_memory"][side.name] += [await newcomer.gateway.memory()]


async def adoption(samples: Samples, cluster: Cluster, side: Side) -> None:
    """Restart our gateway with more and more kernels, at last simulated ones."""
    with step(f"Adoption of {', '.join(map(str, REAL))} kernels, {ROUNDS} restarts each"):
        for before, count in zip((0, *REAL), REAL, strict=False):
            await fill(side, count - before)
            await _measure(samples, side, count)
            await replicas.wait_until_settled(side)
        model = await Model.of(side.api, side.namespace, next(iter(await side.gateway.kernels())))
        await side.remove_kernels()
    await replicas.scale(side, 0)
    with step(f"Adoption of {SIMULATED} simulated kernels, {ROUNDS} restarts"):
        async with simulated_kernels(cluster, side.api, model, SIMULATED):
            await _measure(samples, side, SIMULATED)
            await replicas.scale(side, 0)
    await replicas.scale(side, 1)
