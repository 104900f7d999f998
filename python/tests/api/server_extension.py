"""A Jupyter server with this product's extension, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import struct
import sys
import uuid

import aiohttp

from ci.gateway_client import Gateway
from timeouts import within_timeout

SERVER_TOKEN = "the-token-of-the-server"
V1 = "v1.kernel.websocket.jupyter.org"
EXTENSION = "gateway_provisioners_client.server"
# Its start is faster without them.
_UNUSED = ("jupyterlab", "notebook", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals")


class Server:
    """A running Jupyter server.

    Attributes:
        process: it.
        url: with the base URL.
        client: of its REST API, in the place of a browser.
    """

    def __init__(self, process, url, client, log):
        self.process = process
        self.url = url
        self.client = client
        self._log = log

    def log(self):
        """Return what it has logged."""
        return self._log.read_text()

    async def request(self, method, path, body=None):
        """Send a request to the HTTP API of the extension; return the answer's status and JSON."""
        async with (
            aiohttp.ClientSession(headers=AUTHORIZED) as session,
            session.request(
                method, f"{self.url}/gateway-provisioners/{path}", json=body
            ) as response,
        ):
            text = await response.text()
            return response.status, json.loads(text) if text else None

    def page(self, kernel_id, **options):
        """Open a websocket to a kernel as JupyterLab does."""
        return page(self.url, kernel_id, **options)


AUTHORIZED = {"Authorization": f"token {SERVER_TOKEN}"}


@contextlib.asynccontextmanager
async def extended_server(folder, port, *options, extension=True, **environment):
    """Run a server; yield it when it listens.

    Args:
        extension: whether it has the extension; None: as its installation says.
    """
    log_file = folder / f"server-{uuid.uuid4().hex}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jupyter_server",
            *(
                []
                if extension is None
                else [f"--ServerApp.jpserver_extensions={EXTENSION}={extension}"]
            ),
            *(f"--ServerApp.jpserver_extensions={name}=False" for name in _UNUSED),
            f"--IdentityProvider.token={SERVER_TOKEN}",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            f"--ServerApp.root_dir={folder}",
            *options,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=log,
        )
    try:
        await _until_listening(process, port, log_file)
        url = f"http://127.0.0.1:{port}"
        async with Gateway(url, SERVER_TOKEN) as client:
            yield Server(process, url, client, log_file)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def gateway_mode(gateway, token):
    """Return the options of a server in front of a gateway."""
    return (f"--gateway-url={gateway.url}", f"--GatewayClient.auth_token={token}")


async def _until_listening(process, port, log_file):
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)  # the server logs that it serves before it does
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError(f"the server has ended:\n{log_file.read_text()}")


class Page:
    """The websocket of a page that speaks the newer protocol, which has buffers."""

    def __init__(self, websocket, session_id):
        self.websocket = websocket
        self.session_id = session_id

    async def send(self, channel, msg_type, content, buffers=(), msg_id=""):
        """Send a message; return its id."""
        header = {
            "msg_id": msg_id or uuid.uuid4().hex,
            "username": "test",
            "session": self.session_id,
            "msg_type": msg_type,
            "version": "5.3",
        }
        parts = [json.dumps(each).encode() for each in (header, {}, {}, content)]
        await self.websocket.send_bytes(frame_of(channel, [*parts, *buffers]))
        return header["msg_id"]

    async def execute(self, code, msg_id=""):
        """Send a cell; return its id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        return await self.send("shell", "execute_request", content, msg_id=msg_id)

    async def receive(self):
        """Return the next message: channel, header, parent header, content and buffers."""
        message = await within_timeout(self.websocket.receive())
        assert message.type is aiohttp.WSMsgType.BINARY, message
        channel, (header, parent, _, content, *buffers) = parts_of(message.data)
        return channel, json.loads(header), json.loads(parent), json.loads(content), buffers

    async def until_idle(self, msg_id):
        """Return the messages of a cell up to its reply and the idle status: pairs of type and content."""
        messages, ends = [], set()
        while ends != {"execute_reply", "idle"}:
            _, header, parent, content, buffers = await self.receive()
            if parent.get("msg_id") != msg_id:
                continue
            messages.append((header["msg_type"], content, buffers))
            if header["msg_type"] == "execute_reply":
                ends.add("execute_reply")
            elif content.get("execution_state") == "idle":
                ends.add("idle")
        return messages

    async def run(self, code):
        """Run a cell to its end; return the text of its streams."""
        return text_of(await self.until_idle(await self.execute(code)))


def text_of(messages):
    """Return the text of the streams among messages."""
    return "".join(content["text"] for kind, content, _ in messages if kind == "stream")


@contextlib.asynccontextmanager
async def page(url, kernel_id, session_id="", protocols=(V1,), **options):
    """Open a websocket to a kernel as JupyterLab does."""
    session_id = session_id or uuid.uuid4().hex
    async with (
        aiohttp.ClientSession(headers=AUTHORIZED) as session,
        session.ws_connect(
            f"{url}/api/kernels/{kernel_id}/channels",
            params={"session_id": session_id},
            protocols=protocols,
            max_msg_size=0,
            **options,
        ) as websocket,
    ):
        assert websocket.protocol == (protocols[0] if protocols else None)
        yield Page(websocket, session_id)


def frame_of(channel, parts):
    """Return a message in the newer protocol."""
    body = [channel.encode(), *parts]
    offsets = [8 * (len(body) + 2)]
    for part in body:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(body)


def parts_of(frame):
    """Return the channel and the parts of a message in the newer protocol."""
    (number,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{number}Q", frame, 8)
    channel, *parts = (frame[a:b] for a, b in itertools.pairwise(offsets))
    return channel.decode(), parts
