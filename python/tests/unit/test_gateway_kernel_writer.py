"""A client's messages on their way to its kernel."""

import asyncio

import pytest
import pytest_asyncio
from jupyter_client.session import Session

from gateway_provisioners.gateway.process.limits import FREE_BYTES, Limits
from gateway_provisioners.gateway.websocket import kernel_writer as writers
from gateway_provisioners.gateway.websocket.kernel_writer import KernelWriter

MIB = 2**20
PARTS = [b"{}"] * 4


class Kernel:
    """Takes messages; they are in transit until it reads."""

    def __init__(self):
        self.in_transit = 0
        self.messages = []

    def send_multipart(self, frames, *_, **__):
        self.messages.append(frames)


@pytest_asyncio.fixture
async def limits():
    return Limits(client_buffer_bytes=MIB, buffer_bytes=2 * MIB)


@pytest.fixture
def kernel():
    return Kernel()


def writer_of(kernel, limits, give_up=lambda: None):
    return KernelWriter(Session(key=b"key"), limits, lambda: kernel.in_transit, give_up)


async def is_held_back(writer):
    """Return whether the client has to wait, and its waiting task."""
    waiting = asyncio.ensure_future(writer.wait_until_sent())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if waiting.done():
        assert waiting.result()
        return None
    return waiting


async def test_client_waits_for_a_kernel_that_takes_nothing(kernel, limits):
    writer = writer_of(kernel, limits)
    kernel.in_transit = MIB
    assert not await is_held_back(writer)
    kernel.in_transit = MIB + 1
    waiting = await is_held_back(writer)
    assert waiting
    kernel.in_transit = 0
    writer.has_left()
    assert await waiting
    assert limits.buffers.held == 0


async def test_messages_to_all_kernels_stay_within_the_budget(kernel, limits):
    kernel.in_transit = MIB
    writers_ = [writer_of(kernel, limits) for _ in range(5)]
    waiting = [await is_held_back(writer) for writer in writers_]
    assert [task is not None for task in waiting] == [False, False, True, True, True]
    kernel.in_transit = FREE_BYTES
    for writer in writers_:
        writer.has_left()
    await asyncio.gather(*waiting[2:])
    assert limits.buffers.held == 0


async def test_held_messages_count_with_what_they_keep_in_memory(kernel, limits):
    writer = writer_of(kernel, limits)
    writer.hold("shell", PARTS, 2 * MIB)
    waiting = await is_held_back(writer)
    assert waiting
    writer.send_held({"shell": kernel}, lambda *_: True)
    assert await waiting
    assert kernel.messages[0][-4:] == PARTS


async def test_kernel_that_takes_nothing_for_long_is_reported(kernel, limits, monkeypatch):
    monkeypatch.setattr(writers, "STUCK_SECONDS", 0.01)
    kernel.in_transit = 2 * MIB
    assert not await writer_of(kernel, limits).wait_until_sent()


async def test_closed_writer_keeps_nothing(kernel, limits):
    writer = writer_of(kernel, limits)
    writer.hold("shell", PARTS, MIB)
    assert not await is_held_back(writer)
    assert limits.buffers.held == MIB
    writer.hold("shell", PARTS, MIB)
    waiting = await is_held_back(writer)
    writer.close()
    assert await waiting
    assert (limits.buffers.held, writer.waiting) == (0, 0)


async def test_only_a_writer_with_waiting_bytes_gives_up(kernel, limits):
    gave_up = []
    writer = writer_of(kernel, limits, lambda: gave_up.append(kernel.in_transit))
    kernel.in_transit = MIB
    assert not await is_held_back(writer)
    kernel.in_transit = 0  # the connection broke, and took them with it
    limits.buffers._press()
    assert (gave_up, limits.buffers.held) == ([], 0)
    kernel.in_transit = MIB
    assert not await is_held_back(writer)
    limits.buffers._press()
    assert gave_up == [MIB]


@pytest.mark.parametrize("version", [0, 4, 5])
@pytest.mark.parametrize("header", [b'{"version" : "5.3"}', b'{ "msg_id":"1"}'])
async def test_messages_are_sent_as_they_are(kernel, limits, version, header):
    writer = writer_of(kernel, limits)
    writer._session.adapt_version = version
    parts = [header, b"{ }", b"{}", b'{"a":  NaN}', b"buffer"]
    writer.send(kernel, parts)
    assert kernel.messages[0][-5:] == parts
