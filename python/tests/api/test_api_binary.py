"""Messages with binary buffers, as ipywidgets send them, in both forms of the websocket."""

import json

import aiohttp
import pytest
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

V1 = "v1.kernel.websocket.jupyter.org"
BYTES = bytes(range(256))  # not valid UTF-8
OPEN_COMM = """
from comm import create_comm
echo = create_comm(target_name="probe", data={}, buffers=[bytes(range(256))])
echo.on_msg(lambda message: print(bytes(message["buffers"][0]) == bytes(range(256)) * 40))
print("after")
"""


class BinaryClient:
    """A client that sends and receives buffers, with or without the subprotocol."""

    def __init__(self, websocket):
        self._websocket = websocket
        self._session = Session()

    async def send(self, msg_type, content, buffers=()):
        message = self._session.msg(msg_type, content)
        message["buffers"] = list(buffers)
        if self._websocket.protocol == V1:
            names = ("header", "parent_header", "metadata", "content")
            parts = [*(self._session.pack(message[name]) for name in names), *buffers]
            await self._websocket.send_bytes(serialize_msg_to_ws_v1(parts, "shell"))
        elif buffers:
            message["channel"] = "shell"
            await self._websocket.send_bytes(serialize_binary_message(message))
        else:
            await self._websocket.send_json({**message, "channel": "shell"}, dumps=_dumps)

    async def until(self, msg_type):
        """Return the content and the buffers of the next message of this type."""
        while True:
            frame = await self._websocket.receive()
            if self._websocket.protocol == V1:
                _, parts = deserialize_msg_from_ws_v1(frame.data)
                header, content, buffers = json.loads(parts[0]), json.loads(parts[3]), parts[4:]
            else:
                is_binary = frame.type == aiohttp.WSMsgType.BINARY
                message = (
                    deserialize_binary_message(frame.data) if is_binary else json.loads(frame.data)
                )
                header, content, buffers = (
                    message[part] for part in ("header", "content", "buffers")
                )
            if header["msg_type"] == msg_type:
                return content, [bytes(each) for each in buffers]


def _dumps(message):
    return json.dumps(message, default=str)


@pytest.mark.parametrize("protocol", [V1, ""])
async def test_binary_buffers_arrive_in_both_directions(gateway, protocol):
    kernel_id = await gateway.client.start("local")
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id=widgets"
    protocols = [protocol] if protocol else []
    async with gateway.client._session.ws_connect(url, protocols=protocols) as websocket:
        client = BinaryClient(websocket)
        assert (websocket.protocol or "") == protocol
        await client.send("execute_request", {"code": OPEN_COMM, "silent": False})
        opened, buffers = await client.until("comm_open")
        assert buffers == [BYTES]
        assert (await client.until("stream"))[0]["text"] == "after\n"
        message = {"comm_id": opened["comm_id"], "data": {}}
        await client.send("comm_msg", message, buffers=[BYTES * 40])
        assert (await client.until("stream"))[0]["text"] == "True\n"
