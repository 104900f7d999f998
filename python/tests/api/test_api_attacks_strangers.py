"""Attacks of strangers without the token: memory is bounded, and users are served."""

import asyncio
import contextlib

import pytest_asyncio

from ci.local_gateway import MOST_MEBIBYTES, gateway_process


@pytest_asyncio.fixture
async def gateway(tmp_path):
    async with gateway_process(tmp_path) as gateway:
        yield gateway
        assert gateway.peak() < MOST_MEBIBYTES, gateway.log()


async def send(gateway, data, stack):
    """Send bytes on a connection that stays open."""
    _, writer = await asyncio.open_connection(*gateway.address)
    stack.callback(writer.close)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


async def metrics(gateway):
    async with gateway.client._session.get(f"{gateway.health_url}/metrics") as response:
        return await response.text()


async def test_distinct_methods_leave_the_metrics_as_they_are(gateway):
    before = len(await metrics(gateway))
    async with contextlib.AsyncExitStack() as stack:
        for number in range(500):
            method = f"M{number:06}".encode() + b"A" * 60_000
            await send(gateway, method + b" /x HTTP/1.1\r\nHost: x\r\n\r\n", stack)
        assert await gateway.client.kernels() == {}
    assert len(await metrics(gateway)) < before + 10_000
    assert gateway.log().count("\n") < 300


async def test_bodies_without_an_end_are_not_kept(gateway):
    head = b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await send(gateway, head + b"x" * 2**24, stack)
        assert await gateway.client.kernels() == {}


async def test_unfinished_headers_make_room_for_users(gateway):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(6000):
            await send(gateway, b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000, stack)
        async with gateway.client.kernel("launched") as channels:
            assert (await channels.execute("print(1)")).text == "1\n"
