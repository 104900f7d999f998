"""Attacks of strangers without the token: memory is bounded, and users are served."""

import asyncio
import contextlib
import re

import pytest
import pytest_asyncio

from ci.local_gateway import MOST_MEBIBYTES, gateway_process
from gateway_provisioners.errors import LaunchFailed


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


FORGED = "\nforged\rforged\x1b[2J\u2028forged"
# A record, or a line of a traceback.
LINE = re.compile(r"\[[DIWEC] [-\d]+ \d\d:\d\d:\d\d[^\]]*\] |  ")


@pytest.mark.attack(1)
async def test_distinct_methods_leave_the_metrics_as_they_are(gateway):
    before = len(await gateway.metrics())
    async with contextlib.AsyncExitStack() as stack:
        for number in range(500):
            method = f"M{number:06}".encode() + b"A" * 60_000
            await send(gateway, method + b" /x HTTP/1.1\r\nHost: x\r\n\r\n", stack)
        assert await gateway.client.kernels() == {}
    assert len(await gateway.metrics()) < before + 10_000
    assert gateway.log().count("\n") < 300


@pytest.mark.attack(2)
async def test_bodies_without_an_end_are_not_kept(gateway):
    head = b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await send(gateway, head + b"x" * 2**24, stack)
        assert await gateway.client.kernels() == {}


@pytest.mark.attack(2)
async def test_unfinished_headers_make_room_for_users(gateway):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(6000):
            await send(gateway, b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000, stack)
        async with gateway.client.kernel("launched") as channels:
            assert (await channels.execute("print(1)")).text == "1\n"


@pytest.mark.attack(20)
async def test_log_has_one_short_line_for_each_record(gateway):
    """Names, ids, paths and logs hold line breaks, escape sequences, and a lot of text."""
    url = f"{gateway.url}/api/kernels"
    for text in (FORGED, FORGED + "x" * 300_000, "\x1b" * 50_000):
        for body in (
            {"name": text},
            {"kernel_id": text},
            {"env": {text: "x"}},
            {"env": {"KERNEL_USERNAME": text}, "name": text},
            {"env": {"KERNEL_LOG": text}, "name": "failing"},
        ):
            async with gateway.client._session.post(url, json=body) as response:
                assert response.status in {400, 403, 404, 413, LaunchFailed.http_status}
    for path in ("%0A[E%20forged", "%1B[2J" * 100, "x" * 7000):
        async with gateway.client._session.get(f"{url}/{path}") as response:
            assert response.status == 404
    async with contextlib.AsyncExitStack() as stack:
        await send(gateway, b"GET /\x1b[2J\x0b\xe2\x80\xa8 HTTP/1.1\r\nHost: x\r\n\r\n", stack)
        await send(gateway, b"\x1b]0;forged\x07 / HTTP/1.1\r\nHost: x\r\n\r\n", stack)
        assert await gateway.client.kernels() == {}
    lines = gateway.log().split("\n")[:-1]
    assert len(lines) > 12
    assert any("Its container has ended" in line for line in lines)
    for line in lines:
        assert LINE.match(line), line
        assert line.isprintable()
        assert len(line) < 1200


@pytest.mark.attack(20)
async def test_flood_of_refused_requests_is_a_bounded_number_of_lines(gateway):
    request = b"GET /api/kernels HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection(*gateway.address)
    for _ in range(1000):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
    writer.close()
    assert await gateway.client.kernels() == {}
    assert gateway.log().count(" 401 ") < 600
