"""The one limit on each wait of a test; pytest-timeout's in pyproject.toml is that of a whole test."""

import asyncio

# Generous: it ends what hangs, and no test depends on an idle machine.
TIMEOUT_SECONDS = 240


async def within_timeout(awaitable):
    return await asyncio.wait_for(awaitable, TIMEOUT_SECONDS)


async def eventually(condition):
    """Call `condition` until its awaitable gives a true value; return that."""

    async def poll():
        while not (value := await condition()):  # noqa: ASYNC110 - another program's state has no event here
            await asyncio.sleep(0.2)
        return value

    return await within_timeout(poll())
