"""Messages that wait to be written to a client."""

import asyncio

import pytest
import pytest_asyncio

from gateway_provisioners.gateway.process.limits import FREE_BYTES, Limits
from gateway_provisioners.gateway.websocket import outbox as outboxes
from gateway_provisioners.gateway.websocket.outbox import FRAGMENT_BYTES, Outbox

MIB = 2**20


class Websocket:
    """Takes fragments; they are on their way until the client reads."""

    def __init__(self):
        self.fragments = []
        self.reads = True
        self._waiting = []

    def write_fragment(self, data, *, binary, first, last):
        written = asyncio.get_running_loop().create_future()
        self.fragments.append((data, binary, first, last))
        if self.reads:
            written.set_result(None)
        else:
            self._waiting.append(written)
        return written

    def read(self, count):
        for _ in range(count):
            self._waiting.pop(0).set_result(None)

    def messages(self):
        whole, messages = b"", []
        for data, _, first, last in self.fragments:
            whole = data if first else whole + data
            if last:
                messages.append(whole)
        return messages


@pytest_asyncio.fixture
async def limits():
    return Limits(client_buffer_bytes=MIB, buffer_bytes=4 * MIB)


@pytest.fixture
def websocket():
    return Websocket()


@pytest_asyncio.fixture
async def outbox(websocket, limits):
    outbox = Outbox(websocket, limits)
    yield outbox
    outbox.close()


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_large_message_is_written_in_fragments(outbox, websocket):
    done = []
    outbox.write(
        [b"a" * MIB, memoryview(b"b" * 100)], binary=True, on_written=lambda: done.append(1)
    )
    outbox.write([b"next"], binary=False)
    await turns()
    assert websocket.messages() == [b"a" * MIB + b"b" * 100, b"next"]
    assert max(len(data) for data, *_ in websocket.fragments) == FRAGMENT_BYTES
    assert [binary for _, binary, first, _ in websocket.fragments if first] == [True, False]
    assert (done, outbox.backlog) == ([1], 0)


async def test_one_message_leaves_others_their_turn(outbox, websocket):
    outbox.write([b"a" * MIB], binary=True)
    assert sum(len(data) for data, *_ in websocket.fragments) <= 256 * 1024


async def test_message_counts_as_written_when_the_client_took_it(outbox, websocket):
    websocket.reads = False
    written = []
    for number in range(3):
        outbox.write([b"x"], binary=False, on_written=lambda number=number: written.append(number))
    outbox.write((), binary=False, on_written=lambda: written.append("skipped"))
    assert written == []
    websocket.read(2)
    await turns()
    assert written == [0, 1]
    websocket.read(1)
    await turns()
    assert written == [0, 1, 2, "skipped"]


async def test_room_ends_at_the_limit_and_comes_back(outbox, websocket):
    websocket.reads = False
    rooms = []
    outbox.on_room = lambda: rooms.append(outbox.backlog)
    while outbox.has_room():
        outbox.write([b"x" * 10_000], binary=False)
    assert MIB <= outbox.backlog < MIB + 10_000
    assert rooms == []
    websocket.reads = True
    websocket.read(len(websocket._waiting))
    await turns()
    assert rooms
    assert outbox.has_room()


async def test_all_clients_together_stay_within_the_budget(limits):
    boxes = []
    for _ in range(20):
        websocket = Websocket()
        websocket.reads = False
        boxes.append(Outbox(websocket, limits))
    for box in boxes:
        while box.has_room():
            box.write([b"x" * 10_000], binary=False)
    assert limits.buffers.held <= limits.buffers.total
    free = sum(min(box.backlog, FREE_BYTES + 10_000) for box in boxes)
    assert sum(box.backlog for box in boxes) <= limits.buffers.total + free + 20 * 10_000
    for box in boxes:
        box.close()
    assert limits.buffers.held == 0


async def test_large_message_without_a_share_stays_on_its_sources_account(
    outbox, websocket, limits
):
    websocket.reads = False
    assert outbox.write([b"x" * 3 * MIB], binary=True)
    assert not outbox.write([b"x" * 2 * MIB], binary=True)
    assert limits.buffers.held <= limits.buffers.total


async def test_client_that_reads_nothing_is_reported(outbox, websocket, monkeypatch):
    monkeypatch.setattr(outboxes, "STALLED_SECONDS", 0.05)
    stalled = asyncio.Event()
    outbox.on_stalled = stalled.set
    websocket.reads = False
    outbox.write([b"x"], binary=False)
    await asyncio.wait_for(stalled.wait(), 60)


async def test_closed_outbox_takes_nothing(outbox, websocket, limits):
    websocket.reads = False
    outbox.write([b"x" * MIB], binary=True)
    outbox.close()
    assert (outbox.backlog, limits.buffers.held, outbox.has_room()) == (0, 0, False)
    count = len(websocket.fragments)
    outbox.write([b"x"], binary=True)
    assert len(websocket.fragments) == count


async def test_replies_wait_a_little_without_a_budget(outbox, websocket, limits):
    websocket.reads = False
    others = limits.buffers.share(lambda: None)
    await others.take(limits.buffers.total)
    outbox.write([b"x" * FREE_BYTES], binary=True)
    assert not outbox.can_keep(1000, 9 * MIB)
    while outbox.can_keep(1000, 9 * MIB, urgent=True):
        outbox.write([b"x" * 1000], binary=True)
    assert outbox.backlog <= 2 * FREE_BYTES
    websocket.read(len(websocket._waiting))
    await turns()
    assert outbox.can_keep(1000, 9 * MIB, urgent=True)
