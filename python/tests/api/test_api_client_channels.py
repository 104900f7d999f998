"""Stock Jupyter servers in front of the gateway, and other clients of a kernel."""

import aiohttp
import pytest
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import serialize_binary_message

from api.running import running_gateway
from api.test_api_jupyterlab import jupyter_server

BYTES = bytes(range(256))  # not valid UTF-8
PUBLISH = """
from comm import create_comm
for n in range(3):
    create_comm(target_name="probe", data={}, buffers=[bytes(range(256))])
print("after")
"""
LISTEN = """
def opened(comm, message):
    print(bytes(message["buffers"][0]) == bytes(range(256)) * 40)
get_ipython().kernel.comm_manager.register_target("probe", opened)
"""
WORDS = (
    "This output has binary data, which the Jupyter server in front of the gateway cannot read. "
    "`pip install gateway-provisioners-client` in its environment mends it.\n"
)


async def test_a_cell_with_binary_data_ends_with_words_in_a_stock_server(unused_tcp_port):
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
        browser.kernel("local") as kernel,
    ):
        result = await kernel.execute(PUBLISH)
        assert (result.status, result.text) == ("ok", f"{WORDS}after\n")
        assert (await kernel.execute("print(2)")).text == "2\n"


async def test_binary_data_of_a_page_passes_a_stock_server(unused_tcp_port):
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
        browser.kernel("local") as kernel,
    ):
        assert (await kernel.execute(LISTEN)).status == "ok"
        content = {"comm_id": "one", "target_name": "probe", "data": {}}
        message = {**Session().msg("comm_open", content), "buffers": [BYTES * 40]}
        await kernel._websocket.send_bytes(
            serialize_binary_message({**message, "channel": "shell"})
        )
        while (received := await kernel.receive())["header"]["msg_type"] != "stream":
            pass
        assert received["content"]["text"] == "True\n"
        assert (await kernel.execute("print(2)")).text == "2\n"


@pytest.mark.parametrize("message", [b"\0", b"\0\0\0\5\0\0\0", b"\0\0\0\2" + b"\xff" * 64])
async def test_malformed_binary_data_as_text_ends_its_connection_alone(gateway, message):
    kernel_id = await gateway.client.start("local")
    async with (
        gateway.client.channels(kernel_id, "one") as bad,
        gateway.client.channels(kernel_id, "two") as good,
    ):
        # As tornado does with bytes.
        await bad._websocket._writer.send_frame(message, aiohttp.WSMsgType.TEXT)
        while (received := await bad._websocket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert received.data == 1007
        assert "malformed" in received.extra
        assert (await good.execute("print(2)")).text == "2\n"
