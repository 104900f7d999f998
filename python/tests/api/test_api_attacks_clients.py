"""Attacks of clients: the gateway's memory is bounded, and they get an answer in words."""

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest
import pytest_asyncio

from ci.gateway_client import Channels
from ci.local_gateway import MOST_MEBIBYTES, gateway_process
from timeouts import eventually, within_timeout

V1 = "v1.kernel.websocket.jupyter.org"
FIGURES = """
from IPython.display import publish_display_data
for n in range({count}):
    publish_display_data({{"text/plain": "x" * 2**20}})
print("all are out")
"""
PROTOCOLS = pytest.mark.parametrize("kernel", ["launched", "local"])


@pytest_asyncio.fixture
async def gateway(tmp_path):
    async with gateway_process(tmp_path) as gateway:
        yield gateway
        assert gateway.peak() < MOST_MEBIBYTES, gateway.log()


class Client:
    """A client that reads only when it is asked to."""

    def __init__(self, websocket):
        self._websocket = websocket
        self._transport = websocket._response.connection.transport
        self.channels = Channels(websocket)

    async def ask(self, code):
        content = {"code": code, "silent": False, "store_history": False}
        return await self.channels.send("shell", "execute_request", content)

    async def close(self):
        self.read_on()
        await self._websocket.close()

    async def write(self, data):
        """Write bytes of our own, and return when the transport has written all."""

        async def has_written():
            return not self._transport.get_write_buffer_size()

        self._transport.write(data)
        await eventually(has_written)

    def abort(self):
        """Cut the connection, without a close."""
        self._transport.abort()
        self._websocket._response.close()

    def stop_reading(self):
        self._transport.pause_reading()

    def read_on(self):
        self._transport.resume_reading()

    async def messages_of(self, request):
        """Return the messages of a request until its end; the order of reply and idle is the kernel's."""
        messages, missing = [], {"execute_reply", "idle"}
        while missing:
            message = await self.channels.receive()
            if message["parent_header"].get("msg_id") == request:
                messages.append(message)
                missing.discard(message["content"].get("execution_state", message["msg_type"]))
        return messages


async def connect(gateway, kernel_id, session="s"):
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels"
    query = {"session_id": session}
    return Client(await gateway.client._session.ws_connect(url, params=query, max_msg_size=0))


def texts(messages):
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")


def figures(messages):
    return sum(m["msg_type"] == "display_data" for m in messages)


@pytest.mark.attack(5)
@PROTOCOLS
async def test_clients_that_do_not_read_take_no_memory_of_others(gateway, kernel):
    async with gateway.client.kernel(kernel) as other:
        for number in range(2):
            client = await connect(gateway, await gateway.client.start(kernel), f"s{number}")
            client.stop_reading()
            await client.ask(FIGURES.format(count=300))
        for _ in range(20):
            assert (await other.execute("print(1)")).text == "1\n"
            await asyncio.sleep(0.1)


async def test_client_that_reads_late_gets_everything_that_is_kept(gateway):
    client = await connect(gateway, await gateway.client.start("launched"))
    client.stop_reading()
    request = await client.ask(FIGURES.format(count=60))
    await asyncio.sleep(2)
    client.read_on()
    messages = await client.messages_of(request)
    assert (figures(messages), texts(messages)) == (60, "all are out\n")


async def test_client_that_comes_back_gets_what_was_kept(gateway):
    kernel_id = await gateway.client.start("launched")
    client = await connect(gateway, kernel_id)
    client.stop_reading()
    request = await client.ask(FIGURES.format(count=60))
    await asyncio.sleep(1)
    client.abort()
    again = await connect(gateway, kernel_id)
    messages = await again.messages_of(request)
    assert texts(messages) == "all are out\n"
    assert figures(messages) >= 50, "what was on its way to the old connection is not known"


@PROTOCOLS
async def test_output_of_many_megabytes_arrives_whole(gateway, kernel):
    async with gateway.client.kernel(kernel) as channels:
        result = await channels.execute(
            "from IPython.display import publish_display_data\n"
            "publish_display_data({'text/plain': 'x' * 12_000_000})\nprint('after it')"
        )
    assert [len(data["text/plain"]) for data in result.data] == [12_000_000]
    assert result.text == "after it\n"


@PROTOCOLS
async def test_cell_of_many_megabytes_runs(gateway, kernel):
    async with gateway.client.kernel(kernel) as channels:
        result = await channels.execute(f"x = '{'y' * 11_000_000}'; print(len(x))")
        assert result.text == "11000000\n"


@PROTOCOLS
async def test_cell_that_is_too_large_ends_with_words(gateway, kernel):
    async with gateway.client.kernel(kernel) as channels:
        result = await channels.execute(f"x = '{'y' * 40_000_000}'")
        assert result.status == "error"
        assert "gateway.maxMessageBytes.toKernel" in result.text
        assert (await channels.execute("print(1)")).text == "1\n"


def v1_message(code, message_id):
    header = {"msg_id": message_id, "msg_type": "execute_request", "session": "s", "username": ""}
    header["version"] = "5.3"
    content = {"code": code, "silent": False}
    parts = [b"shell", *(json.dumps(part).encode() for part in (header, {}, {}, content))]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    return b"".join([*(n.to_bytes(8, "little") for n in numbers), *parts])


def v1_parts(data):
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[8 * n : 8 * n + 8], "little") for n in range(1, count + 1)]
    return [data[a:b] for a, b in pairwise(offsets)]


async def test_both_protocols_answer_a_cell_that_is_too_large(gateway):
    kernel_id = await gateway.client.start("launched")
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels"
    async with gateway.client._session.ws_connect(url, protocols=[V1], max_msg_size=0) as websocket:
        assert websocket.protocol == V1
        await websocket.send_bytes(v1_message("x" * 40_000_000, "large"))
        await websocket.send_bytes(v1_message("print(6 * 7)", "small"))
        words = ""
        while "42" not in words:
            message = await within_timeout(websocket.receive())
            _, _, parent, _, content, *_ = v1_parts(message.data)
            if json.loads(parent).get("msg_id"):
                words += json.dumps(json.loads(content))
        assert "gateway.maxMessageBytes.toKernel" in words


@PROTOCOLS
async def test_text_of_wide_characters_takes_no_more_memory(gateway, kernel):
    """Python keeps a text with one such character in 4 bytes for each of its characters."""
    client = await connect(gateway, await gateway.client.start(kernel))
    header = {"msg_id": "wide", "msg_type": "kernel_info_request", "session": "s", "version": "5.3"}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}}
    message["content"] = {"more": "\U0001f600" + "y" * 31_000_000}
    await client._websocket.send_str(json.dumps(message, ensure_ascii=False))
    answers = set()
    while "kernel_info_reply" not in answers:
        message = await client.channels.receive()
        if message["parent_header"].get("msg_id") == "wide":
            answers.add(message["msg_type"])


STATUSES = """
session, socket = get_ipython().kernel.session, get_ipython().kernel.iopub_socket
for n in range(300):
    session.send(socket, "status", {"execution_state": "busy", "more": "x" * 2**20})
"""


@pytest.mark.attack(5)
async def test_progress_that_clients_do_not_read_takes_no_memory(gateway):
    async with gateway.client.kernel("local") as other:
        for _ in range(2):
            kernel_id = await gateway.client.start("local")
            clients = [await connect(gateway, kernel_id, f"s{n}") for n in range(4)]
            for client in clients:
                client.stop_reading()
            await clients[0].ask(STATUSES)
        for _ in range(20):
            assert (await other.execute("print(1)")).text == "1\n"
            await asyncio.sleep(0.1)


def frame(first, data, announced=None):
    """Return a websocket's frame of a client, which may announce more than it has."""
    size = len(data) if announced is None else announced
    return bytes([first, 0x80 | 127]) + size.to_bytes(8, "big") + b"\0\0\0\0" + data


async def test_fragments_without_an_end_take_no_memory(gateway):
    kernel_id = await gateway.client.start("launched")
    async with gateway.client.kernel("launched") as other:
        for _ in range(4):
            transport = (await connect(gateway, kernel_id))._transport
            transport.write(frame(0x02, b"x" * 2**20))
            for _ in range(60):
                transport.write(frame(0x00, b"x" * 2**20))
        assert (await other.execute("print(1)")).text == "1\n"
        await asyncio.sleep(2)
        assert (await other.execute("print(1)")).text == "1\n"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame(0x01, b"x" * 28 * 2**20, announced=31 * 2**20)], id="whole"),
        pytest.param([frame(0x01, b"x"), frame(0x00, b"x" * 28 * 2**20)], id="fragments"),
    ],
)
async def test_messages_that_are_cut_off_take_no_memory(gateway, frames):
    kernel_id = await gateway.client.start("launched")
    for _ in range(10):
        client = await connect(gateway, kernel_id)
        await client.write(b"".join(frames))
        await asyncio.sleep(0.1)
        client.abort()


@pytest.mark.parametrize(
    "garbage",
    [
        "not json",
        "[]",
        "null",
        '{"channel": "shell"}',
        '{"channel": 5, "header": {}}',
        '{"header": ' + "[" * 100_000,
        b"",
        b"\0\0\0\1",
        b"\xff" * 100,
    ],
)
async def test_malformed_message_ends_its_connection_alone(gateway, garbage):
    async with gateway.client.kernel("launched") as channels:
        kernel_id = channels.kernel_id
        websocket = (await connect(gateway, kernel_id))._websocket
        if isinstance(garbage, bytes):
            await websocket.send_bytes(garbage)
        else:
            await websocket.send_str(garbage)
        answer = await within_timeout(websocket.receive())
        while answer.type is aiohttp.WSMsgType.TEXT:
            answer = await within_timeout(websocket.receive())
        assert websocket.close_code == 1007
        assert (await channels.execute("print(1)")).text == "1\n"
    assert "Traceback" not in gateway.log()
