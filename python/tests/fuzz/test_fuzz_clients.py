"""Messages, texts and files that reach the client package are taken or refused, whatever is in them."""

import asyncio
import contextlib
import json

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.kernel import connection_file, state_file
from gateway_provisioners_client.session import words
from gateway_provisioners_client.session.connection import RemoteKernel
from gateway_provisioners_client.session.frames import CHANNELS, MalformedMessage, from_v1, to_v1
from gateway_provisioners_client.session.requests import Request
from hypothesis import given
from hypothesis import strategies as st

from fuzz.hostile import spoiled, spoiled_json

MESSAGE = words.message("status", b'{"msg_id": "a"}', {"execution_state": "idle"})
FRAME = to_v1("iopub", [*MESSAGE, b"buffer"])
CONNECTION = {
    "ip": "127.0.0.1",
    "transport": "tcp",
    "key": "k",
    "signature_scheme": "hmac-sha256",
    **{f"{channel}_port": 5000 + n for n, channel in enumerate(connection_file.CHANNELS)},
}
ATTACHED = {
    "attached": {"attempt": "a", "confirms": True, "mailbox": True, "held": ["a"]},
    "accepted": ["a"],
}


@given(spoiled(FRAME))
def test_frames_of_a_gateway(data):
    with contextlib.suppress(MalformedMessage):
        channel, parts = from_v1(data)
        assert channel in CHANNELS
        assert len(parts) >= 4
        assert sum(map(len, parts)) <= len(data)


@given(spoiled(MESSAGE[0]), st.sampled_from(sorted(CHANNELS)))
def test_headers_of_requests(header, channel):
    request = Request.of(channel, header, b"")
    assert isinstance(request.msg_id, str)
    assert isinstance(request.reply, str)


@given(spoiled_json(ATTACHED), spoiled(FRAME))
def test_what_a_gateway_says(text, frame):
    async def take():
        delivered = []
        remote = RemoteKernel(
            None, "k", "s", deliver=lambda *each: delivered.append(each), state=lambda _: None
        )
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text)
            if isinstance(value, dict):
                remote._take_text(value)
        with contextlib.suppress(MalformedMessage):
            remote._take(frame)
        assert len(remote.attempt) <= 128

    asyncio.run(take())


@given(spoiled_json(CONNECTION))
def test_connection_files(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("connection") / "connection.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with contextlib.suppress(ConfigurationError):
        connection = connection_file.read(str(path))
        assert set(connection.addresses) == set(connection_file.CHANNELS)


@given(spoiled_json({"version": 1, "kernel_id": "k", "owner": "o"}))
def test_state_files(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("state") / "state.json"
    path.touch(0o600)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    assert isinstance(state_file.claim(str(path)), dict)
    assert not path.exists()
