"""A Jupyter server in gateway mode with gateway-provisioners-client: what breaks without it works."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from api.running import TOKEN, running_gateway
from api.server_extension import (
    EXTENSION,
    extended_server,
    gateway_mode,
    page,
    text_of,
)
from timeouts import within_timeout

SHOW_BUFFERS = """
from comm import create_comm
comm = create_comm(target_name="pictures", data={}, buffers=[bytes(range(256))])
"""

TAKE_BUFFERS = """
from comm import create_comm
comm = create_comm(target_name="uploads", data={})
comm.on_msg(lambda message: print(len(message["buffers"][0]), set(bytes(message["buffers"][0]))))
print(comm.comm_id)
"""

LARGE_OUTPUT = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": "x" * 12_000_000})
print("after it")
"""


@contextlib.asynccontextmanager
async def in_front_of_a_gateway(tmp_path, port, *options, **traits):
    async with (
        running_gateway(**traits) as gateway,
        extended_server(tmp_path, port, *gateway_mode(gateway, TOKEN), *options) as server,
    ):
        yield gateway, server


async def test_binary_data_and_large_messages_pass_both_ways(tmp_path, unused_tcp_port):
    async with in_front_of_a_gateway(tmp_path, unused_tcp_port) as (_, server):
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            messages = await browser.until_idle(await browser.execute(SHOW_BUFFERS))
            opened = [buffers for kind, _, buffers in messages if kind == "comm_open"]
            assert opened == [[bytes(range(256))]]

            comm_id = (await browser.run(TAKE_BUFFERS)).strip()
            for size in (256, 12_000_000):
                content = {"comm_id": comm_id, "data": {}}
                sent = await browser.send("shell", "comm_msg", content, [b"\xff" * size])
                assert await output_of(browser, sent) == f"{size} {{255}}\n"

            messages = await browser.until_idle(await browser.execute(LARGE_OUTPUT))
            shown = [content for kind, content, _ in messages if kind == "display_data"]
            assert len(shown[0]["data"]["text/plain"]) == 12_000_000
            assert text_of(messages) == "after it\n"
            assert await browser.run("print(1)") == "1\n"


async def output_of(browser, msg_id):
    """Return the text of a stream that a message of ours has caused."""
    while True:
        _, header, parent, content, _ = await browser.receive()
        if header["msg_type"] == "stream" and parent.get("msg_id") == msg_id:
            return content["text"]


async def test_clients_without_a_subprotocol_get_the_older_one(tmp_path, unused_tcp_port):
    async with (
        in_front_of_a_gateway(tmp_path, unused_tcp_port) as (_, server),
        server.client.kernel("local") as channels,
    ):
        assert (await channels.execute("print(1)")).text == "1\n"
        await channels.send("shell", "execute_request", {"code": SHOW_BUFFERS, "silent": False})
        binary = await within_timeout(until_binary(channels._websocket))
        assert json.loads(binary[12 : binary.index(bytes(range(256)))])["msg_type"] == "comm_open"
        result = await channels.execute("print(input())", answer="typed")
        assert "typed" in result.text


async def until_binary(websocket):
    async for message in websocket:
        if message.type is aiohttp.WSMsgType.BINARY:
            return message.data
    return None


async def test_a_lost_connection_of_the_page_loses_nothing(tmp_path, unused_tcp_port):
    code = "import time\nfor n in range(200):\n    print(n, flush=True); time.sleep(0.01)"
    async with (
        in_front_of_a_gateway(tmp_path, unused_tcp_port) as (_, server),
        cutting_proxy(unused_tcp_port) as (url, cut),
    ):
        kernel_id = await server.client.start("local")
        async with page(url, kernel_id) as browser:
            session_id = browser.session_id
            msg_id = await browser.execute(code)
            while (await browser.receive())[1]["msg_type"] != "stream":
                pass
            cut(hold=True)  # what comes now is written to a page that does not get it
            await asyncio.sleep(0.5)
            cut()
        async with server.page(kernel_id, session_id=session_id) as browser:
            messages = await browser.until_idle(msg_id)
            lines = text_of(messages).split()
            missing = set(range(1, 200)) - set(map(int, lines))
            assert not missing
            assert await browser.run("print(1)") == "1\n"


@contextlib.asynccontextmanager
async def cutting_proxy(port):
    """Pass connections on to a port; yield the URL, and a function that cuts them."""
    held, writers = asyncio.Event(), set()

    async def copy(reader, writer, *, may_hold):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if may_hold and held.is_set():
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, there[1]))
        await asyncio.gather(
            copy(reader, there[1], may_hold=True), copy(there[0], writer, may_hold=True)
        )

    def cut(*, hold=False):
        held.set()
        if not hold:
            for writer in writers:
                writer.transport.abort()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", cut
    finally:
        proxy.close()


async def test_a_gateway_that_comes_back_has_run_the_cell(tmp_path, unused_tcp_port):
    async with in_front_of_a_gateway(tmp_path, unused_tcp_port) as (gateway, server):
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            assert await browser.run("n = 0\nprint(n)") == "0\n"
            for socket in gateway.sockets():
                socket.shutdown(2)
            assert await browser.run("n += 1\nprint(n)") == "1\n"


async def test_renewed_tokens_are_used_for_each_connection(tmp_path, unused_tcp_port, monkeypatch):
    (tmp_path / "renewing.py").write_text(RENEWER)
    token_file = tmp_path / "token"
    token_file.write_text("an-old-token")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with (
        running_gateway() as gateway,
        extended_server(
            tmp_path,
            unused_tcp_port,
            *gateway_mode(gateway, "of-the-start"),
            "--GatewayClient.gateway_token_renewer_class=renewing.FromFile",
            TOKEN_FILE=str(token_file),
        ) as server,
    ):
        token_file.write_text(TOKEN)
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            assert await browser.run("print(1)") == "1\n"
        for secret in (TOKEN, "an-old-token", "of-the-start"):
            assert secret not in server.log()


RENEWER = """
import os
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase


class FromFile(GatewayTokenRenewerBase):
    def get_token(self, auth_header_key, auth_scheme, auth_token, **kwargs):
        return open(os.environ["TOKEN_FILE"]).read()
"""


@pytest.mark.attack(22)
async def test_malformed_messages_end_nothing(tmp_path, unused_tcp_port):
    async with in_front_of_a_gateway(tmp_path, unused_tcp_port) as (_, server):
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            for frame in (b"", b"\0" * 8, b"\xff" * 64, b"\1" + b"\0" * 7):
                await browser.websocket.send_bytes(frame)
            await browser.websocket.send_str('{"channel": "shell"}')
            await browser.send("iopub", "status", {"execution_state": "dead"})
            assert await browser.run("print(1)") == "1\n"
        async with server.page(kernel_id, protocols=()) as browser:
            for text in ("", "[]", "{", "[" * 100_000):
                await browser.websocket.send_str(text)
            await browser.websocket.send_bytes(b"\xff\xff\xff\xff")
            await browser.websocket.send_json(
                {"channel": "shell", "header": {"msg_type": "kernel_info_request", "msg_id": "a"}}
            )
            async for message in browser.websocket:
                if json.loads(message.data)["msg_type"] == "kernel_info_reply":
                    break


async def test_a_server_without_a_gateway_stays_as_it_is(tmp_path, unused_tcp_port):
    async with extended_server(tmp_path, unused_tcp_port, extension=None) as server:
        assert f"{EXTENSION} | extension was successfully loaded" in server.log()
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            assert await browser.run("print(1)") == "1\n"
        assert await server.request("GET", f"kernels/{kernel_id}") == (
            404,
            {"message": "The kernel is not at a gateway.", "reason": None},
        )
        assert await server.request("GET", "running") == (200, [])
        async with aiohttp.ClientSession() as stranger:
            for path in ("running", "starts", f"kernels/{kernel_id}"):
                async with stranger.get(f"{server.url}/gateway-provisioners/{path}") as response:
                    assert response.status == 403


async def test_a_configured_connection_class_stays(tmp_path, unused_tcp_port):
    option = (
        "--ServerApp.kernel_websocket_connection_class="
        "jupyter_server.services.kernels.connection.channels.ZMQChannelsWebsocketConnection"
    )
    async with in_front_of_a_gateway(tmp_path, unused_tcp_port, option) as (_, server):
        assert "leaves gateway mode as it is" in server.log()
        assert await server.client.request("GET", "/api/kernelspecs")
