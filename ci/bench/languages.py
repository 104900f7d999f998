"""The start of kernels in R and Scala: ours only, since the peer has no images of them here."""

from __future__ import annotations

import asyncio

from ci.bench.deploy import Side
from ci.bench.measure import SETTLE_SECONDS, Samples
from ci.progress import step

ROUNDS = 3
# Code that prints 2, by the kernel's name in our chart.
CODE = {"r": "cat(1+1)", "scala": "print(1+1)"}


async def languages(samples: Samples, ours: Side) -> None:
    """Start one kernel after the other, wait for its first result and remove it; the first is not counted."""
    for kernel, code in CODE.items():
        gateway = ours.gateway.with_kernel(kernel)
        with step(f"Cold starts of the kernel {kernel}, {ROUNDS} rounds"):
            for number in range(1 + ROUNDS):
                start = await gateway.start_and_execute(code)
                await ours.remove_kernels()
                await asyncio.sleep(SETTLE_SECONDS)
                if number:
                    samples[f"first_result_{kernel}"][ours.name] += [start.first_result]
