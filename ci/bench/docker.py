"""The same on a Docker engine: starts, executions, restarts, failures and idleness of both gateways."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from ci.bench import docker_sides
from ci.bench.client import FAILURES
from ci.bench.docker_sides import ENDING, MISSING, DockerSide, DockerSides
from ci.bench.measure import (
    IDLE_MANY,
    SETTLE_IDLE_SECONDS,
    SETTLE_SECONDS,
    Samples,
    cold_starts,
    execute_in_turns,
    fill,
    no_samples,
    turns,
    warm_up,
)
from ci.commands import CommandError
from ci.docker_engine import DockerEngine
from ci.progress import step

ROUNDS = 6
FAILING_ROUNDS = 3
IDLE_SECONDS = 60


async def _executions(samples: Samples, sides: DockerSides) -> None:
    ours, peer = sides.ours.gateway, sides.peer.gateway
    with step("Execute through the gateways"):
        async with (
            ours.channels(await ours.start_kernel()) as our_channels,
            peer.channels(await peer.start_kernel()) as peer_channels,
        ):
            await execute_in_turns(
                samples["round_trip"], {"ours": our_channels, "peer": peer_channels}
            )
        for side in sides:
            await side.remove_kernels()


async def _restarts(samples: Samples, sides: DockerSides) -> None:
    """Restart a kernel, until it has computed again."""
    with step(f"Restarts, {ROUNDS} rounds"):
        for turn in turns(ROUNDS, sides):
            for side in turn:
                kernel_id = (await side.gateway.start_and_execute()).kernel_id
                await asyncio.sleep(SETTLE_SECONDS)
                try:
                    took = await side.gateway.restart_and_execute(kernel_id)
                    samples["restart"][side.name] += [took]
                except (CommandError, *FAILURES) as error:
                    side.gateway.failures.append(f"restart: {type(error).__name__} {error}")
                await side.remove_kernels()
                await asyncio.sleep(SETTLE_SECONDS)


async def _shutdowns(samples: Samples, sides: DockerSides) -> None:
    """Shut a kernel down, until its container is gone."""
    with step(f"Shutdowns, {ROUNDS} rounds"):
        for turn in turns(ROUNDS, sides):
            for side in turn:
                kernel_id = (await side.gateway.start_and_execute()).kernel_id
                gone = await side.containers.removal()
                await asyncio.sleep(SETTLE_SECONDS)
                begin = time.perf_counter()
                await side.gateway.delete(kernel_id)
                await gone
                samples["shutdown"][side.name] += [time.perf_counter() - begin]
                await asyncio.sleep(SETTLE_SECONDS)


async def _failures(samples: Samples, sides: DockerSides) -> None:
    """Start kernels that cannot start, until the client gets the error."""
    for kernel in (MISSING, ENDING):
        with step(f"Failing kernels ({kernel}), {FAILING_ROUNDS} rounds"):
            for turn in turns(FAILING_ROUNDS, sides):
                for side in turn:
                    took = await side.gateway.with_kernel(kernel).refusal()
                    samples[f"refusal_{kernel}"][side.name] += [took]
                    await side.remove_kernels()
                    await asyncio.sleep(SETTLE_SECONDS)


def _cpu_seconds(side: DockerSide) -> float:
    fields = Path(f"/proc/{side.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(side: DockerSide) -> float:
    """Return the bytes of memory that hold no file."""
    status = Path(f"/proc/{side.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024.0


async def _idle(samples: Samples, sides: DockerSides) -> None:
    """Leave kernels alone and see what the gateways' processes use; both at the same time."""
    with step(f"{IDLE_MANY} idle kernels each: what the gateways use in {IDLE_SECONDS} s"):
        for side in sides:
            await fill(side, IDLE_MANY)
        await asyncio.sleep(SETTLE_IDLE_SECONDS)
        before = {side.name: _cpu_seconds(side) for side in sides}
        await asyncio.sleep(IDLE_SECONDS)
        for side in sides:
            used = _cpu_seconds(side) - before[side.name]
            samples["cpu_per_minute"][side.name] += [used / IDLE_SECONDS * 60]
            samples["memory"][side.name] += [_memory(side)]
        for side in sides:
            await side.remove_kernels()


async def measure(engine: DockerEngine) -> tuple[Samples, list[str]]:
    """Measure both sides beside the engine; return the samples, and the failures in words."""
    samples = no_samples()
    async with docker_sides.running(engine) as sides:
        await warm_up(sides, sides.bare)
        await cold_starts(samples, sides, sides.bare, rounds=ROUNDS, count=1)
        await _executions(samples, sides)
        await _restarts(samples, sides)
        await _shutdowns(samples, sides)
        await cold_starts(samples, sides, sides.bare, rounds=3, count=10)
        await _failures(samples, sides)
        await _idle(samples, sides)
        for side in sides:
            samples["failed_starts"][side.name] += [len(side.gateway.failures)]
        return samples, [
            f"{side.name}: {failure}" for side in sides for failure in side.gateway.failures
        ]
