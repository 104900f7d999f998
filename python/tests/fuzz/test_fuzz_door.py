"""The gateway's port for clients answers or closes whatever comes, and serves the next request."""

import asyncio
import contextlib
import re

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from ci.local_gateway import MOST_MEBIBYTES, TOKEN, gateway_process
from fuzz.hostile import altered, cut, dumped, odd_texts, spoiled
from fuzz.test_fuzz_messages import MESSAGE
from timeouts import within_timeout

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = "3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a10"
LINES = [
    "Host: x",
    f"Authorization: token {TOKEN}",
    f"Authorization: token {TOKEN}x",
    "Content-Length: 2",
    "Content-Length: 99999999999999999999",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Type: application/json",
    "Content-Type: multipart/form-data; boundary=x",
    "Expect: 100-continue",
    "X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    "X-Forwarded-Proto: https",
    "Origin: https://example.org",
    "Range: bytes=0-",
    "If-None-Match: *",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    " folded",
]
PATHS = [
    *("/api", "/api/kernels", f"/api/kernels/{UNKNOWN}", f"/api/kernels/{UNKNOWN}/channels"),
    *("/api/sessions", "/api/kernelspecs", "/kernelspecs/launched/logo.png", "/healthz", "*"),
    *(
        "/../../etc/passwd",
        "/%2e%2e/%00",
        "http://x/api",
        "/api/kernels?token=%00",
        "/?" + "a" * 9000,
    ),
]
BODIES = [
    b"",
    b"{}",
    b"[",
    b"2\r\n{}\r\n0\r\n\r\n",
    b"ffffffff\r\n",
    b"--x\r\n\r\n--x--\r\n",
    b"x" * 9000,
]

requests = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "CONNECT", "get"]),
    st.sampled_from(PATHS),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9"]),
    st.lists(st.sampled_from(LINES), max_size=7),
    st.sampled_from(BODIES),
).map(lambda drawn: "\r\n".join([" ".join(drawn[:3]), *drawn[3], "", ""]).encode() + drawn[4])
pipelines = st.lists(requests, min_size=1, max_size=3).map(b"".join)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    # No request without a name starts a kernel.
    async with gateway_process(folder, KG_DEFAULT_KERNEL_NAME="none") as gateway:
        yield gateway
        assert gateway.peak() < MOST_MEBIBYTES, gateway.log()
        # Those of kernels begin their lines.
        assert not re.search(r"^ +Traceback", gateway.log(), flags=re.MULTILINE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(gateway):
    async with gateway.client.kernel("launched") as channels:
        yield channels


async def ask(gateway, pieces):
    """Send bytes, and no more; return all that comes until the gateway closes the connection."""
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            return await within_timeout(reader.read())
    finally:
        writer.close()
    return b""


@given(
    pipelines.flatmap(cut) | spoiled(pipelines).flatmap(cut) | st.binary(max_size=200).flatmap(cut)
)
async def test_requests(gateway, pieces):
    answer = await ask(gateway, pieces)
    assert answer == b"" or re.match(rb"HTTP/1\.1 \d\d\d ", answer)
    assert TOKEN.encode() not in answer
    assert b" 500 " not in answer[:20]
    assert len(answer) < 100_000
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/healthz") as usual:
        assert usual.status == 200
    assert gateway.process.returncode is None


def upgrade(kernel_id, protocol):
    lines = [
        f"GET /api/kernels/{kernel_id}/channels HTTP/1.1",
        *LINES[:2],
        *LINES[-5:-1],
        *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@st.composite
def websocket_frames(draw):
    """Draw a frame of a websocket, some of whose fields make no sense."""
    message = st.sampled_from([MESSAGE, {**MESSAGE, "channel": "stdin"}])
    payload = draw(
        altered(message).map(dumped) | odd_texts.map(str.encode) | st.binary(max_size=130)
    )
    first = draw(st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xF1, 0x83]))
    size = draw(st.just(len(payload)) | st.sampled_from([0, 125, 2**16, 2**40, 2**63]))
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0]))
    if size < 126:
        head = bytes([first, masked | size])
    elif size < 2**16:
        head = bytes([first, masked | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, masked | 127]) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


@given(
    st.lists(websocket_frames(), max_size=4).map(b"".join).flatmap(cut),
    st.sampled_from(
        ["", "v1.kernel.websocket.jupyter.org", "unknown", "v1.kernel.websocket.jupyter.org, x"]
    ),
)
async def test_frames_of_websockets(gateway, kernel, pieces, protocol):
    await ask(gateway, [upgrade(kernel.kernel_id, protocol), *pieces])
    # Not code to run: a frame whose code fails has the kernel abort what waits behind it.
    reply = await kernel.request_reply("shell", "is_complete_request", {"code": "print(1)"})
    assert reply["status"] == "complete"
    assert gateway.process.returncode is None
