"""The gateway's side of the mailbox port, with a launcher that the test plays; on loopback."""

import asyncio
import hashlib
import hmac
import itertools
import json
import select
from types import SimpleNamespace

import pytest
import zmq.asyncio

from api.lying_mailbox import NONSENSE, frame, lying_mailbox, welcome
from gateway_provisioners.gateway.channels import metered, pauses
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection, Welcome
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from timeouts import within_timeout

KEY = b"the-key-of-the-mailbox"
GUARD_SECONDS = 60


class Launcher:
    """The other side: a mailbox that sends and expects what the test says."""

    def __init__(self, context):
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.rcvtimeo = 1000 * GUARD_SECONDS
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._route = b""

    async def receive(self):
        self._route, *frames = await self._socket.recv_multipart()
        return frames

    async def send(self, *frames):
        await self._socket.send_multipart([self._route, *frames])

    async def welcome(self, *, dropped=0, last=0):
        """Expect an attachment, and welcome it; returns its frames."""
        frames = await self.receive()
        content = {"execution_state": "idle", "dropped": dropped, "last": last}
        await self.send(b"welcome", json.dumps(content).encode())
        return frames

    async def say(self, number, text, *, channel=b"iopub", parent=""):
        await self.send(channel, b"%d" % number, *message(text, parent={"msg_id": parent}))


def message(text, *, header=None, parent=None):
    parts = [json.dumps(part).encode() for part in (header or {}, parent or {}, {}, text)]
    return [b"<IDS|MSG>", b"signature", *parts]


class Client:
    """A connection, and what it delivers."""

    def __init__(self, kernel, port, *, welcome_timeout=GUARD_SECONDS):
        self.connection = MailboxConnection(
            kernel,
            MailboxEndpoint(port, KEY),
            "a-session",
            Limits(),
            welcome_timeout=welcome_timeout,
        )
        self.calls = asyncio.Queue()
        self.connection.on_broken = self.calls.put_nowait
        self.connection.on_dropped = self.calls.put_nowait
        self.connection.on_taken = lambda: self.calls.put_nowait("taken")
        self.delivered = asyncio.Queue()

    def listen(self):
        self.connection.on_message = self._take
        self.connection.receive()

    def _take(self, channel, frames, number):
        self.delivered.put_nowait((channel.channel, json.loads(frames[-1])))
        self.connection.written(number)
        self.connection.delivered(number)
        return True

    async def next(self):
        return await asyncio.wait_for(self.delivered.get(), GUARD_SECONDS)

    async def next_call(self):
        return await asyncio.wait_for(self.calls.get(), GUARD_SECONDS)

    async def welcomed(self):
        return await asyncio.wait_for(self.connection.welcomed, GUARD_SECONDS)


@pytest.fixture
def context():
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def launcher(context):
    return Launcher(context)


@pytest.fixture
def kernel(context):
    session = SimpleNamespace(key=KEY)
    return SimpleNamespace(session=session, context=context, ip="127.0.0.1", curve_publickey=None)


@pytest.fixture
async def client(kernel, launcher):
    client = Client(kernel, launcher.port)
    yield client
    client.connection.close()
    while client.connection._meter.is_open:  # noqa: ASYNC110 - 0MQ closes its side in a thread of its own
        await asyncio.sleep(0.001)


async def test_attaches_with_a_signature_and_is_welcomed(launcher, client):
    kind, signature, content = await launcher.welcome(dropped=3, last=7)
    assert kind == b"attach"
    assert json.loads(content) == {"session": "a-session", "features": ["fresh-key"]}
    expected = hmac.new(KEY, b"attach" + content, hashlib.sha256).hexdigest()
    assert signature.decode() == expected
    assert await client.welcomed() == Welcome("idle", 3, (), 7)
    assert client.connection.catching_up


async def test_delivers_in_order_without_duplicates_and_acknowledges(launcher, client):
    client.listen()
    await launcher.welcome()
    for number in (1, 2, 2, 1, 5):
        await launcher.say(number, f"message {number}")
    assert [await client.next() for _ in range(3)] == [
        ("iopub", "message 1"),
        ("iopub", "message 2"),
        ("iopub", "message 5"),
    ]
    acknowledged = []
    while b"5" not in acknowledged:
        kind, number = await launcher.receive()
        assert kind == b"ack"
        acknowledged.append(number)


async def test_catches_up_until_the_last_message_before_the_welcome(launcher, client):
    client.listen()
    await launcher.welcome(last=1)
    await launcher.say(1, "old")
    await client.next()
    assert client.connection.catching_up
    await launcher.say(2, "new")
    await client.next()
    assert not client.connection.catching_up


async def test_reads_nothing_that_it_cannot_deliver(launcher, client):
    await launcher.welcome()
    await client.welcomed()
    client.connection.can_deliver = lambda: False
    client.listen()
    await launcher.say(1, "waits")
    while not client.connection._socket.poll(0):  # noqa: ASYNC110 - until it has arrived
        await asyncio.sleep(0.01)
    client.connection.flush()
    assert client.delivered.empty()
    client.connection.can_deliver = lambda: True
    client.listen()
    assert await client.next() == ("iopub", "waits")


async def test_a_message_that_has_to_wait_is_announced_once(launcher, client):
    client.listen()
    await launcher.welcome()
    await launcher.say(1, "first")
    await client.next()
    await launcher.receive()  # the acknowledgement: to send another one would be a look as well
    connection = client.connection
    connection.flush()  # until 0MQ has nothing: it announces the next message then
    connection.can_deliver = lambda: False
    [descriptor, _] = connection._descriptors
    announced = asyncio.Event()

    def read():
        connection._read()
        announced.set()

    connection._loop.add_reader(descriptor, read)
    await launcher.say(2, "waits")
    await within_timeout(announced.wait())
    assert select.select([descriptor], [], [], 0)[0] == []
    connection.can_deliver = lambda: True
    connection.resume()
    assert await client.next() == ("iopub", "waits")


async def test_reports_lost_messages_and_a_session_that_connected_elsewhere(launcher, client):
    client.listen()
    await launcher.welcome()
    await launcher.send(b"dropped", b"4")
    await launcher.send(b"taken")
    await launcher.send(b"a kind of a later version", b"?")
    assert [await client.next_call() for _ in range(2)] == [4, "taken"]


async def test_closing_one_channel_closes_the_connection_of_all(launcher, client):
    await launcher.welcome()
    await client.welcomed()
    client.connection.channels["iopub"].close()
    assert all(channel.closed() for channel in client.connection.channels.values())
    client.connection.close(for_good=True)  # closing twice is harmless


async def test_a_session_that_ends_for_good_is_detached(launcher, client):
    await launcher.welcome()
    client.connection.close(for_good=True)
    assert await launcher.receive() == [b"detach"]


async def test_a_connection_that_is_closed_before_the_welcome(client):
    client.connection.close()
    assert await client.welcomed() is None


async def test_a_launcher_that_does_not_welcome_is_given_up(kernel, launcher):
    client = Client(kernel, launcher.port, welcome_timeout=0)
    assert await client.next_call() == "its mailbox does not answer"
    assert client.connection.closed
    assert await client.welcomed() is None


async def test_a_connection_that_0mq_ends_is_closed_with_all_that_it_holds(kernel):
    async with lying_mailbox() as mailbox:
        mailbox.tell([welcome()])
        client = Client(kernel, mailbox.port)
        await client.welcomed()
        mailbox.tell([NONSENSE], is_zmq=False)
        client.connection._acknowledgement = client.connection._loop.call_later(1000, print)
        client.connection._meter._link.close()
        assert await client.next_call() == "it does not speak 0MQ"
        assert client.connection.closed
        assert client.connection._meter.closed
        client.connection.channels["shell"].send_multipart(message("is dropped"))


async def test_a_launcher_whose_nonsense_ends_the_connection_at_once_is_given_up(
    kernel, monkeypatch
):
    """0MQ never connects again, and no other timer runs after the welcome."""
    monkeypatch.setattr(metered, "_RECONNECT_SECONDS", 0.5)
    async with lying_mailbox() as mailbox:
        mailbox.tell([welcome()])
        client = Client(kernel, mailbox.port)
        await client.welcomed()
        mailbox.tell([NONSENSE], is_zmq=False, leaves=True)
        client.connection._meter._link.close()
        assert await client.next_call() == "it does not speak 0MQ"
        assert client.connection.closed


async def test_a_malformed_message_does_not_fail_those_who_flush(launcher, client):
    client.listen()
    await launcher.welcome()
    await client.welcomed()
    client.connection._loop.remove_reader(client.connection._descriptors[0])
    await launcher.send(b"iopub", b"no number", *message("text"))
    while not client.connection._socket.poll(0):  # noqa: ASYNC110 - until it has arrived
        await asyncio.sleep(0.01)
    client.connection.channels["iopub"].flush()
    assert await client.next_call() == "a number is malformed"


async def test_a_message_that_fails_is_counted_as_taken(launcher, client):
    def fail(*_):
        raise LookupError("unforeseen")

    client.connection.on_message = fail
    client.connection.receive()
    asyncio.get_running_loop().set_exception_handler(lambda *_: client.calls.put_nowait("failed"))
    await launcher.welcome()
    await launcher.say(1, "x" * 1000)
    assert await client.next_call() == "failed"
    assert client.connection._meter._allowance.outstanding < 1000


async def test_a_message_without_an_end_is_skipped_and_then_ends_the_connection(
    kernel, monkeypatch
):
    monkeypatch.setattr(pauses, "LONGEST_SECONDS", 0)
    monkeypatch.setenv("GP_MAX_MESSAGE_FROM_KERNEL_BYTES", str(2**20))
    async with lying_mailbox() as mailbox:
        endless = itertools.repeat(frame(b"x" * 2**18, more=True), 100)
        mailbox.tell([welcome(), frame(b"iopub", more=True), frame(b"1", more=True), *endless])
        client = Client(kernel, mailbox.port)
        client.listen()
        assert await client.next_call() == 1  # is lost
        assert await client.next_call() == "it sends a message that is too large again and again"
        assert mailbox.connections == 18
