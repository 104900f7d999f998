"""Attacks of kernels and launchers: the gateway's memory is bounded, and the log is short."""

import asyncio
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from api.test_api_attacks_clients import connect, figures, texts
from ci.local_gateway import MOST_MEBIBYTES, gateway_process
from timeouts import eventually

BOTH = pytest.mark.parametrize("kernel", ["launched", "local"])


@pytest_asyncio.fixture
async def gateway(tmp_path):
    async with gateway_process(tmp_path) as gateway:
        yield gateway
        assert gateway.peak() < MOST_MEBIBYTES, gateway.log()


LARGE = """
from IPython.display import publish_display_data
publish_display_data({{"text/plain": "x" * {size}}})
print("after it")
"""
MANY_FRAMES = """
kernel = get_ipython().kernel
kernel.session.send(
    kernel.iopub_socket, "display_data", {"data": {"text/plain": "x"}, "metadata": {}},
    parent=kernel.get_parent(), buffers=[b"x" * 10 * 2**20] * 100,
)
"""
# Published as a kernel does, with a signature, but with any content.
SAY = """
import json, time
kernel = get_ipython().kernel
def say(content, kind="status"):
    message = kernel.session.msg(kind, {}, parent=kernel.get_parent())
    parts = [kernel.session.pack(message[n]) for n in ("header", "parent_header", "metadata")]
    parts.append(content)
    frames = [b"status", b"<IDS|MSG>", kernel.session.sign(parts), *parts]
    kernel.iopub_socket.send_multipart(frames)
for state in (b"NaN", b"1", b"null", b"[]", b'"' + b"x" * 50 * 2**20 + b'"', b'"dancing"'):
    say(b'{"execution_state": ' + state + b"}")
say(b"nothing")
say(b"[" * 100_000)
for frames in ([b"status"], [b"<IDS|MSG>"], [b"status", b"<IDS|MSG>", b"", b"{}"], [b""] * 50):
    kernel.iopub_socket.send_multipart(frames)
"""


@pytest.mark.attack(3)
@BOTH
async def test_large_output_without_a_client_takes_no_memory(gateway, kernel):
    kernel_id = await gateway.client.start(kernel)
    client = await connect(gateway, kernel_id)
    await client.ask(LARGE.format(size=300 * 2**20))
    await asyncio.sleep(0.2)
    client.abort()
    async with gateway.client.kernel(kernel) as other:
        for _ in range(20):
            assert (await other.execute("print(1)")).text == "1\n"
            await asyncio.sleep(0.1)


@pytest.mark.attack(3)
async def test_large_output_becomes_a_sentence_and_the_cell_goes_on(gateway):
    async with gateway.client.kernel("launched") as channels:
        for size in (200 * 2**20, 33 * 2**20):
            result = await channels.execute(LARGE.format(size=size))
            assert "gateway.maxMessageBytes.fromKernel" in result.text
            assert result.text.endswith("after it\n")


@pytest.mark.attack(3)
async def test_large_output_of_a_kernel_without_a_mailbox_is_named(gateway):
    async with gateway.client.kernel("local") as channels:
        result = await channels.execute(LARGE.format(size=40 * 2**20))
        assert "gateway.maxMessageBytes.fromKernel" in result.text
        assert (await channels.execute("1")).status == "ok"


@pytest.mark.attack(3)
@BOTH
async def test_message_of_many_large_frames_takes_no_memory(gateway, kernel):
    async with gateway.client.kernel(kernel) as channels:
        result = await channels.execute(MANY_FRAMES)
        assert "gateway.maxMessageBytes.fromKernel" in result.text


async def is_idle(gateway, kernel_id):
    return (await gateway.client.kernels())[kernel_id]["execution_state"] == "idle"


@pytest.mark.attack(4)
@BOTH
async def test_nonsense_in_status_messages_is_not_followed(gateway, kernel):
    async with gateway.client.kernel(kernel) as channels:
        await channels.execute(SAY)
        before = (await gateway.client.kernels())[channels.kernel_id]
        states = set()
        while "busy" not in states:  # the gateway may be connecting again when the cell begins
            busy = asyncio.create_task(channels.execute("time.sleep(1)"))
            while not busy.done():
                states.add((await gateway.client.kernels())[channels.kernel_id]["execution_state"])
                await asyncio.sleep(0.05)
        await eventually(partial(is_idle, gateway, channels.kernel_id))
        listed = await gateway.client.kernels()
        assert states <= {"idle", "busy"}
        assert len(json.dumps(listed)) < 2000
        assert listed[channels.kernel_id]["last_activity"] > before["last_activity"]
    assert gateway.log().count("published nonsense") == 1
    assert "Traceback" not in gateway.log()


def launcher_of(kernel_pid):
    return int(Path(f"/proc/{kernel_pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.attack(6)
async def test_stopped_launcher_holds_its_own_client_back_alone(gateway):
    kernel_id = await gateway.client.start("launched")
    client = await connect(gateway, kernel_id)
    pid = texts(await client.messages_of(await client.ask("import os; print(os.getpid())")))
    launcher = launcher_of(int(pid))
    os.kill(launcher, signal.SIGSTOP)
    try:
        sending = asyncio.create_task(send_many(client, 100, 9 * 2**20))
        words = ""
        while "wait" not in words:
            message = await client.channels.receive()
            words += message["content"].get("text", "")
        async with gateway.client.kernel("launched") as other:
            assert (await other.execute("print(1)")).text == "1\n"
        sending.cancel()
        counted = 'sent_away_total{kernel="launched",reason="unsent"} 1.0\n'
        assert counted in await gateway.metrics()
    finally:
        os.kill(launcher, signal.SIGCONT)


async def send_many(client, count, size):
    for _ in range(count):
        await client.ask("y" * size)


@pytest.mark.attack(6)
async def test_client_of_a_kernel_that_restarts_is_held_back(gateway):
    """A restart of a kernel that is stopped takes as long as the gateway waits for its end."""
    kernel_id = await gateway.client.start("launched")
    client = await connect(gateway, kernel_id)
    await client.messages_of(await client.ask("1"))
    restart = asyncio.create_task(
        gateway.client.request("POST", f"/api/kernels/{kernel_id}/restart")
    )
    sending = asyncio.create_task(send_many(client, 100, 9 * 2**20))
    async with gateway.client.kernel("launched") as other:
        for _ in range(20):
            assert (await other.execute("print(1)")).text == "1\n"
            await asyncio.sleep(0.1)
    sending.cancel()
    await restart


@pytest.mark.attack(5)
async def test_endless_output_reaches_its_reader_and_leaves_others_alone(gateway):
    kernel_id = await gateway.client.start("launched")
    client = await connect(gateway, kernel_id)
    request = await client.ask(
        "from IPython.display import publish_display_data\n"
        "for n in range(200): publish_display_data({'text/plain': 'x' * 2**20})"
    )
    reading = asyncio.create_task(client.messages_of(request))
    async with gateway.client.kernel("launched") as other:
        while not reading.done():
            assert (await other.execute("print(1)")).text == "1\n"
    assert figures(reading.result()) == 200
