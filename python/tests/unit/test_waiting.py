"""Waiting with a limit, as the watches do."""

import asyncio

import pytest

from gateway_provisioners.tasks.waiting import within


async def test_what_comes_in_time_is_returned():
    async def answer():
        return 1

    assert await within(60, answer()) == 1


async def test_what_does_not_come_in_time_is_cancelled():
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(asyncio.TimeoutError):
        await within(0, never)
    assert never.cancelled()


async def test_the_error_of_what_is_waited_for_is_raised():
    async def end():
        raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        await within(60, end())


async def test_a_cancellation_counts_when_the_result_comes_at_the_same_moment():
    result = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(60, result))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
