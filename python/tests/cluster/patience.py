"""Waiting for what another program does, with an end."""

import asyncio

# A guard against hanging for ever; no test measures it.
PATIENCE_SECONDS = 240


async def patiently(awaitable):
    return await asyncio.wait_for(awaitable, PATIENCE_SECONDS)


async def until(condition):
    """The first true value that the awaitable which `condition` makes gives."""
    while not (value := await condition()):  # noqa: ASYNC110 - another program's state has no event here
        await asyncio.sleep(0.2)
    return value
