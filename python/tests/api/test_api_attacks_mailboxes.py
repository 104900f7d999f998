"""Mailboxes that lie: the connection ends with one line in the log, and others work on."""

import itertools
import json

import aiohttp
import pytest
import pytest_asyncio

from api.lying_mailbox import frame, lying_mailbox, message, welcome
from api.test_api_attacks_clients import connect
from ci.local_gateway import MOST_MEBIBYTES, gateway_process
from timeouts import within_timeout

MEBIBYTE = b"x" * 2**20
OUTPUT = (b"", b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}")


def numbered(number, *frames):
    return message(b"iopub", number, *frames)


# What a launcher may say after 0MQ's handshake.
LIES = {
    "last is 10**18": [welcome(last=10**18)],
    "last is negative": [welcome(last=-1)],
    "last is a truth": [welcome(last=True)],
    "last is text": [welcome(last="1")],
    "last is a fraction": [welcome(last=1.5)],
    "dropped is NaN": [welcome(dropped=float("nan"))],
    "dropped is endless": [message(b"welcome", b'{"dropped": ' + b"9" * 10_000 + b"}")],
    "no state": [message(b"welcome", b'{"dropped": 0, "last": 0}')],
    "no object": [message(b"welcome", b"null")],
    "no JSON": [message(b"welcome", b"\xff\x00")],
    "deep JSON": [message(b"welcome", b"[" * 100_000)],
    "deep state": [message(b"welcome", b'{"execution_state": ' + b"[" * 100_000)],
    "long state": [welcome(execution_state="x" * 50 * 2**20)],
    "no frame": [message(b"welcome")],
    "too many frames": [message(b"welcome", *[b"{}"] * 1000)],
    "dropped what?": [welcome(), message(b"dropped", b"many")],
    "no number": [welcome(), numbered(b"", *OUTPUT)],
    "number is text": [welcome(), numbered(b"one", *OUTPUT)],
    "number is negative": [welcome(), numbered(b"-1", *OUTPUT)],
    "number is long": [welcome(), numbered(b"9" * 4000, *OUTPUT)],
    "number in another script": [welcome(), numbered("\u0661".encode(), *OUTPUT)],
    "message without frames": [welcome(), message(b"iopub")],
    "frame of an exabyte": [welcome(), b"\x03" + (2**60).to_bytes(8, "big"), MEBIBYTE * 40],
}


@pytest_asyncio.fixture
async def mailbox():
    async with lying_mailbox() as mailbox:
        yield mailbox


@pytest_asyncio.fixture
async def gateway(tmp_path, mailbox):
    async with gateway_process(tmp_path, LYING_MAILBOX_PORT=str(mailbox.port)) as gateway:
        yield gateway
        has_ended = gateway.process.returncode is not None
        assert has_ended or gateway.peak() < MOST_MEBIBYTES, gateway.log()
        assert "Traceback" not in gateway.log()


async def until_closed(client):
    words = ""
    while True:
        received = await within_timeout(client._websocket.receive())
        if received.type is not aiohttp.WSMsgType.TEXT:
            return words
        words += json.loads(received.data)["content"].get("text", "")


def complaints(gateway):
    return gateway.log().count("was disconnected: ")


@pytest.mark.attack(7)
async def test_mailbox_that_lies_is_disconnected_with_one_line(gateway, mailbox):
    async with gateway.client.kernel("launched") as other:
        kernel_id = await gateway.client.start("lying")
        for count, (name, lie) in enumerate(LIES.items()):
            mailbox.tell(lie)
            client = await connect(gateway, kernel_id, f"s{count}")
            words = await until_closed(client)
            assert "Restart the kernel" in words, name
            assert complaints(gateway) == count + 1, name
            assert (await other.execute("print(1)")).text == "1\n", name
            assert gateway.peak() < MOST_MEBIBYTES, name
        assert (await gateway.client.kernels())[kernel_id]["execution_state"] in {"idle", "unknown"}
    counted = f'sent_away_total{{kernel="lying",reason="launcher"}} {len(LIES)}.0\n'
    assert counted in await gateway.metrics()


@pytest.mark.attack(7)
async def test_mailbox_that_does_not_speak_0mq_takes_no_memory(gateway, mailbox):
    async with gateway.client.kernel("launched") as other:
        kernel_id = await gateway.client.start("lying")
        mailbox.tell([MEBIBYTE] * 300, is_zmq=False)
        client = await connect(gateway, kernel_id)
        await within_timeout(mailbox.was_sent.wait())
        assert (await other.execute("print(1)")).text == "1\n"
        await client._websocket.close()


@pytest.mark.attack(7)
@pytest.mark.parametrize(
    "frames",
    [
        frame(b"", more=True) * 2**16,  # each costs more than its two bytes on the wire
        frame(b"\x09SUBSCRIBE", more=True, command=True) * 2**16,
        frame(MEBIBYTE, more=True),
    ],
    ids=["empty", "subscriptions", "large"],
)
async def test_endless_frames_take_no_memory(gateway, mailbox, frames):
    async with gateway.client.kernel("launched") as other:
        kernel_id = await gateway.client.start("lying")
        mailbox.tell(itertools.chain([welcome()], itertools.repeat(frames, 1000)))
        client = await connect(gateway, kernel_id)
        while "too large a message" not in gateway.log():
            assert (await other.execute("print(1)")).text == "1\n"
        await client._websocket.close()
        await gateway.client.delete(kernel_id)


@pytest.mark.attack(7)
async def test_mailbox_that_does_not_wait_for_acknowledgements(gateway, mailbox):
    """300 MiB of output, and numbers that go back: malformed outputs are dropped, and logged once."""
    numbers = [*range(1, 200), *range(100), 10**17, *range(200, 400)]
    async with gateway.client.kernel("launched") as other:
        kernel_id = await gateway.client.start("lying")
        endless = (numbered(str(n).encode(), *OUTPUT[:-1], MEBIBYTE[: 2**19]) for n in numbers)
        mailbox.tell(itertools.chain([welcome()], endless))
        client = await connect(gateway, kernel_id)
        await within_timeout(mailbox.was_sent.wait())
        assert (await other.execute("print(1)")).text == "1\n"
        await client._websocket.close()
    assert gateway.log().count("malformed message") == 1


@pytest.mark.attack(5)
async def test_mailbox_of_a_client_that_does_not_read_is_held_back(gateway, mailbox):
    async with gateway.client.kernel("launched") as other:
        kernel_id = await gateway.client.start("lying")
        # Losses are said to the client, who reads nothing.
        flood = (message(b"dropped", b"1") * 10_000 for _ in range(400))
        mailbox.tell(itertools.chain([welcome()], flood))
        client = await connect(gateway, kernel_id)
        client.stop_reading()
        for _ in range(20):
            assert (await other.execute("print(1)")).text == "1\n"
        assert gateway.peak() < MOST_MEBIBYTES
        client.abort()


@pytest.mark.attack(7)
async def test_mailbox_that_never_welcomes_does_not_delay_the_stop(gateway, mailbox):
    kernel_id = await gateway.client.start("lying")
    mailbox.tell([])
    client = await connect(gateway, kernel_id)
    await within_timeout(mailbox.was_sent.wait())
    gateway.process.terminate()
    received = await within_timeout(client._websocket.receive())
    assert received.type is aiohttp.WSMsgType.CLOSE
    await within_timeout(gateway.process.wait())
    assert not complaints(gateway), "the websocket was not closed before the gateway ended"
    assert "Traceback" not in gateway.log()
