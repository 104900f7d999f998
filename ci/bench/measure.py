"""Starts, executions and idleness: the two sides take turns, so that a drift of the machine affects both."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from ci.bench import baselines, idle_requests, node_view
from ci.bench.api import labels
from ci.bench.baselines import DirectZmq
from ci.bench.client import Gateway, Start, compute
from ci.bench.deploy import Side, Sides
from ci.bench.port_access import port_access
from ci.clusters import Cluster
from ci.commands import CommandError
from ci.gateway_client import Channels
from ci.progress import step
from gateway_provisioners.model.connection_info import ConnectionInfo

EXECUTE_ROUNDS = 30
EXECUTIONS = 4
IDLE_FEW = 5
IDLE_MANY = 20
BATCH = 5
IDLE_SECONDS = 30
# After a removal or a start: the work that it leaves the node must not slow the next measurement.
SETTLE_SECONDS = 2.0
SETTLE_IDLE_SECONDS = 10.0

# Name of a measurement, then who was measured: "ours", "peer" or a baseline.
Samples = defaultdict[str, dict[str, list[float]]]


class AnySide(Protocol):
    """A gateway on any engine."""

    @property
    def name(self) -> str: ...

    @property
    def gateway(self) -> Gateway: ...

    async def remove_kernels(self) -> None: ...


class Bare(Protocol):
    """Pods or containers that do nothing."""

    async def start(self) -> float: ...

    async def remove(self) -> None: ...


S = TypeVar("S", bound=AnySide)


def no_samples() -> Samples:
    """An empty collection of samples."""
    return defaultdict(lambda: defaultdict(list))


def turns(rounds: int, sides: Iterable[S]) -> Iterator[Sequence[S]]:
    """Give both sides once a round, each first in every other one."""
    for number in range(rounds):
        yield tuple(sides) if number % 2 == 0 else tuple(sides)[::-1]


async def warm_up(sides: Iterable[AnySide], bare: Bare) -> None:
    """Start one of each that is not counted: images and modules are in the page cache from then on."""
    with step("Warm up"):
        for side in sides:
            await side.gateway.start_and_execute()
            await side.remove_kernels()
        await bare.start()
        await bare.remove()
        await baselines.start_local_kernel()


async def _together(count: int, start: Callable[[], Awaitable[float]]) -> list[float]:
    return list(await asyncio.gather(*(start() for _ in range(count))))


async def cold_starts(
    samples: Samples, sides: Iterable[AnySide], bare: Bare, *, rounds: int, count: int
) -> None:
    """Start `count` kernels at once, wait for their results and remove them: on each side, in rounds."""
    suffix = "" if count == 1 else f"_{count}_at_once"
    first_result, answered = samples[f"first_result{suffix}"], samples[f"answered{suffix}"]
    with step(f"Cold starts, {count} at once, {rounds} rounds"):
        for turn in turns(rounds, sides):
            for side in turn:
                starts: list[Start] = await asyncio.gather(
                    *(side.gateway.start_and_execute() for _ in range(count))
                )
                first_result[side.name] += [start.first_result for start in starts]
                answered[side.name] += [start.answered for start in starts]
                await side.remove_kernels()
                await asyncio.sleep(SETTLE_SECONDS)
            first_result["bare"] += await _together(count, bare.start)
            await bare.remove()
            await asyncio.sleep(SETTLE_SECONDS)
            first_result["local_kernel"] += await _together(count, baselines.start_local_kernel)
            await asyncio.sleep(SETTLE_SECONDS)


@asynccontextmanager
async def _direct(cluster: Cluster, side: Side, kernel_id: str) -> AsyncIterator[DirectZmq]:
    """Connect to the ZMQ channels of a kernel of our gateway, by the record in the kernel's Secret."""
    place, of_kernel = f"/api/v1/namespaces/{side.namespace}", labels(kernel_id=kernel_id)
    [secret] = (await side.api.get(f"{place}/secrets", **of_kernel))["items"]
    [pod] = (await side.api.get(f"{place}/pods", **of_kernel))["items"]
    record = json.loads(base64.b64decode(secret["data"]["kernel.json"]))
    info = ConnectionInfo.from_json(record["connection_info"])
    target, numbers = f"pod/{pod['metadata']['name']}", [info.shell_port, info.iopub_port]
    async with port_access(cluster, side.namespace, target, info.ip, numbers) as (ip, ports):
        direct = DirectZmq(
            dataclasses.replace(
                info, ip=ip, shell_port=ports[info.shell_port], iopub_port=ports[info.iopub_port]
            )
        )
        try:
            yield direct
        finally:
            direct.close()


async def execute_in_turns(
    round_trip: dict[str, list[float]],
    all_channels: Mapping[str, Channels],
    direct: DirectZmq | None = None,
) -> None:
    """Run 1+1 over and over, a few times each in turn."""
    for _ in range(EXECUTE_ROUNDS):
        # The first of a few finds caches and cores as the others left them: not counted.
        for name, channels in all_channels.items():
            took = [(await compute(channels)).seconds for _ in range(1 + EXECUTIONS)]
            round_trip[name] += took[1:]
        if direct is not None:
            round_trip["direct_zmq"] += [direct.execute() for _ in range(1 + EXECUTIONS)][1:]


async def executions(samples: Samples, cluster: Cluster, sides: Sides) -> None:
    """Run 1+1 over and over: through each gateway, and on the ZMQ channels of another kernel of ours."""
    ours, peer = sides.ours.gateway, sides.peer.gateway
    with step(f"Execute through the gateways and directly, {EXECUTE_ROUNDS} rounds"):
        async with (
            ours.channels(await ours.start_kernel()) as our_channels,
            peer.channels(await peer.start_kernel()) as peer_channels,
            _direct(cluster, sides.ours, await ours.start_kernel()) as direct,
        ):
            await execute_in_turns(
                samples["round_trip"], {"ours": our_channels, "peer": peer_channels}, direct
            )
        for side in sides:
            await side.remove_kernels()


async def fill(side: AnySide, count: int) -> None:
    """Start that many kernels, a few at a time."""
    for started in range(0, count, BATCH):
        batch = min(BATCH, count - started)
        await asyncio.gather(*(side.gateway.start_kernel() for _ in range(batch)))


async def idle(samples: Samples, sides: Sides) -> None:
    """Leave kernels alone and see what their gateways do meanwhile; both sides at the same time."""
    with step(f"{IDLE_FEW} idle kernels each: requests to the API server in {IDLE_SECONDS} s"):
        for side in sides:
            await fill(side, IDLE_FEW)
        await asyncio.sleep(SETTLE_IDLE_SECONDS)
        before = {side.name: await idle_requests.counted(side.api, side.name) for side in sides}
        await asyncio.sleep(IDLE_SECONDS)
        for side in sides:
            after = await idle_requests.counted(side.api, side.name)
            if after["other"] == 0:
                raise CommandError(f"the API server does not count {side.name} requests apart")
            for kind, count in after.items():
                samples[f"idle_{kind}_requests"][side.name] += [count - before[side.name][kind]]
    with step(f"{IDLE_MANY} idle kernels each: what the gateways use in {node_view.SECONDS} s"):
        for side in sides:
            await fill(side, IDLE_MANY - IDLE_FEW)
        await asyncio.sleep(SETTLE_IDLE_SECONDS)
        # The kubelet's look at the containers may be that old.
        await asyncio.sleep(SETTLE_IDLE_SECONDS)
        usages = await asyncio.gather(
            *(node_view.gateway_usage(side.api, side.namespace) for side in sides)
        )
        for side, usage in zip(sides, usages, strict=True):
            samples["cpu_per_minute"][side.name] += [usage.cpu_per_minute]
            samples["memory"][side.name] += [usage.memory]
        for side in sides:
            await side.remove_kernels()
