"""Decoders either decode or refuse, whatever the bytes are."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.handshake import payload
from gateway_provisioners.model.connection_info import ConnectionInfo
from kernel_launcher import wire

KERNEL_ID = "a-kernel"
LAUNCH_KEY = base64.b64encode(bytes(range(32))).decode()
LAUNCHER = wire.LaunchKey(base64.b64decode(LAUNCH_KEY), KERNEL_ID)
CHALLENGE = "AAAAAAAAAAAAAAAAAAAAAA=="
INFO = {
    "shell_port": 1,
    "iopub_port": 2,
    "stdin_port": 3,
    "control_port": 4,
    "hb_port": 5,
    "comm_port": 6,
    "ip": "127.0.0.1",
    "key": "secret",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_id": KERNEL_ID,
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)
base64s = st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode())
envelopes = st.fixed_dictionaries(
    {"version": st.sampled_from([0, 1, 2, 3, "1", None, True, 1.0, 2.0])},
    optional={
        "key": base64s | scalars,
        "conn_info": base64s | scalars,
        "kernel_id": st.just(KERNEL_ID) | scalars,
        "nonce": base64s | scalars,
        "ciphertext": base64s | scalars,
    },
)
texts = json_values.map(json.dumps) | envelopes.map(json.dumps)
anything = st.binary(max_size=2000) | texts.map(str.encode)
blobs = anything | anything.map(base64.b64encode)
connection_infos = st.fixed_dictionaries(
    {}, optional={name: scalars | st.just(value) for name, value in INFO.items()}
) | st.dictionaries(
    st.sampled_from([*INFO, "pid", "curve_publickey", "curve_secretkey"]), json_values
).map(lambda changes: {**INFO, **changes})


@given(blobs)
def test_reports(gateway_key, blob):
    with contextlib.suppress(ProtocolError):
        envelope = payload.parse_envelope(blob)
        if isinstance(envelope, payload.V1Envelope):
            payload.open_v1(envelope, gateway_key)
        else:
            payload.open_v2(envelope, LAUNCH_KEY)


@pytest.mark.attack(16)
@given(st.integers(), st.integers(0, 255))
def test_no_single_byte_can_be_changed(position, mask):
    blob = bytearray(LAUNCHER.connection_info(INFO))
    assert payload.open_v2(payload.parse_envelope(bytes(blob)), LAUNCH_KEY)
    envelope = json.loads(base64.b64decode(blob))
    for name in ("nonce", "ciphertext"):
        data = bytearray(base64.b64decode(envelope[name]))
        data[position % len(data)] ^= mask or 1
        spoiled = {**envelope, name: base64.b64encode(data).decode()}
        wrapped = base64.b64encode(json.dumps(spoiled).encode())
        with contextlib.suppress(ProtocolError):
            payload.open_v2(payload.parse_envelope(wrapped), LAUNCH_KEY)
            raise AssertionError(name)


@given(connection_infos)
def test_connection_info(fields):
    try:
        info = ConnectionInfo.from_payload(fields)
    except ProtocolError:
        return
    assert ConnectionInfo.from_json(info.to_json()) == info
    jupyter = info.to_jupyter()
    assert jupyter["key"] == info.key.encode()
    assert all(0 < jupyter[name] < 65536 for name in jupyter if name.endswith("_port"))


@given(st.text(max_size=2000) | st.binary(max_size=2000))
def test_stored_connection_info(text):
    with contextlib.suppress(ProtocolError):
        ConnectionInfo.from_json(text)


@given(anything)
def test_commands_and_replies(line):
    with contextlib.suppress(wire.WireError):
        LAUNCHER.open_command(line, CHALLENGE)
    with contextlib.suppress(wire.WireError):
        wire.parse(line)
    with contextlib.suppress(ProtocolError):
        payload.parse_challenge(line)
    with contextlib.suppress(ProtocolError):
        payload.open_reply(line, LAUNCH_KEY, KERNEL_ID, CHALLENGE)


@given(
    st.binary(max_size=50).map(lambda data: data * 1000)
    | st.just(b"[" * 60000)
    | st.just(b"9" * 60000)
)
def test_long_input(data):
    for blob in (data, base64.b64encode(data)):
        with contextlib.suppress(ProtocolError):
            payload.parse_envelope(blob)
