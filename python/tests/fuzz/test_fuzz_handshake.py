"""Reports, commands and replies are decoded or refused, whatever the bytes are."""

import base64
import contextlib
import json
import selectors
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.hostile import altered, cut, dumped, json_values, spoiled, spoiled_json
from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.kernels.memory_watch import warning
from gateway_provisioners.handshake import payload
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.features import parse_features
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.usage import Usage
from kernel_launcher import wire
from kernel_launcher.commands import MAX_BYTES, MAX_CONNECTIONS, CommandListener

KERNEL_ID = "a-kernel"
LAUNCH_KEY = base64.b64encode(bytes(range(32))).decode()
LAUNCHER = wire.LaunchKey(base64.b64decode(LAUNCH_KEY), KERNEL_ID)
CHALLENGE = "AAAAAAAAAAAAAAAAAAAAAA=="
CURVE_KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
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
    "kernel_name": "",
    "pid": "1",
    "mailbox_port": 7,
    "features": ["mailbox", "state"],
    "curve_publickey": CURVE_KEY,
    "curve_secretkey": CURVE_KEY,
}
USAGE = {"memory": 2**30, "memory_limit": 2**31, "cpu": 1.5, "cpu_limit": 0.5}
RECORD = KernelRecord(
    KERNEL_ID,
    "python3",
    {"argv": ["python"], "env": {}, "metadata": {}},
    {"KERNEL_USERNAME": "alice"},
    1,
    LAUNCH_KEY,
    ConnectionInfo.from_payload({**INFO, "protocol": 2}),
).to_json()

infos = altered(INFO)
base64s = st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode())
envelopes = altered(
    st.fixed_dictionaries(
        {
            "version": st.sampled_from([1, 2, True, 1.0, 2.0, "1"]),
            "key": base64s,
            "conn_info": base64s,
            "kernel_id": st.just(KERNEL_ID),
            "nonce": st.binary(min_size=12, max_size=12).map(base64.b64encode).map(bytes.decode),
            "ciphertext": base64s,
        }
    )
)


def sealed(info):
    """Seal connection info that JSON can hold, as a launcher of version 2 does."""
    return LAUNCHER.connection_info(json.loads(json.dumps(info)) if isinstance(info, dict) else {})


reports = infos.map(sealed)
blobs = (
    reports
    | spoiled(reports)
    | reports.map(base64.b64decode).flatmap(spoiled).map(base64.b64encode)
    | envelopes.map(dumped).map(base64.b64encode)
    | spoiled_json(envelopes).map(base64.b64encode)
    | st.binary(max_size=500)
)


def check(info):
    """Check that connection info makes sense, and survives where it is stored."""
    assert ConnectionInfo.from_json(info.to_json()) == info
    jupyter = info.to_jupyter()
    assert jupyter["key"] == info.key.encode()
    assert all(0 < jupyter[name] < 65536 for name in jupyter if name.endswith("_port"))
    assert len(info.kernel_name.encode()) <= 1024
    assert len(info.features) <= 32


def decoded(decode, *data):
    """Return what was decoded, or None if it was refused, in few words and without quoting a secret."""
    try:
        return decode(*data)
    except ProtocolError as error:
        refusal = str(error)
    assert LAUNCH_KEY not in refusal
    assert len(refusal) < 300
    return None


@given(blobs)
def test_reports(gateway_key, blob):
    with contextlib.suppress(ProtocolError):
        envelope = payload.parse_envelope(blob)
        if isinstance(envelope, payload.V1Envelope):
            check(payload.open_v1(envelope, gateway_key)[1])
        else:
            check(payload.open_v2(envelope, LAUNCH_KEY)[0])


@given(infos)
def test_reports_of_version_1(gateway_key, info):
    blob = wire.GatewayKey(gateway_key.public_key).connection_info(info)
    with contextlib.suppress(ProtocolError):
        kernel_id, opened = payload.open_v1(payload.parse_envelope(blob), gateway_key)
        check(opened)
        assert kernel_id == info["kernel_id"]
        assert opened.features == ()


@given(spoiled_json(INFO))
def test_sealed_content(content):
    """A launch key seals any bytes."""
    original = wire._json
    wire._json = lambda value: content if "protocol" in value else original(value)
    try:
        blob = LAUNCHER.connection_info({})
    finally:
        wire._json = original
    with contextlib.suppress(ProtocolError):
        check(payload.open_v2(payload.parse_envelope(blob), LAUNCH_KEY)[0])


@pytest.mark.attack(16)
@given(st.integers(), st.integers(0, 255))
def test_no_single_byte_can_be_changed(position, mask):
    blob = bytearray(LAUNCHER.connection_info(INFO))
    assert payload.open_v2(payload.parse_envelope(bytes(blob)), LAUNCH_KEY)
    envelope = json.loads(base64.b64decode(blob))
    for name in ("nonce", "ciphertext"):
        data = bytearray(base64.b64decode(envelope[name]))
        data[position % len(data)] ^= mask or 1
        changed = {**envelope, name: base64.b64encode(data).decode()}
        wrapped = base64.b64encode(json.dumps(changed).encode())
        with contextlib.suppress(ProtocolError):
            payload.open_v2(payload.parse_envelope(wrapped), LAUNCH_KEY)
            raise AssertionError(name)


@given(infos | json_values)
def test_connection_info(fields):
    with contextlib.suppress(ProtocolError):
        check(ConnectionInfo.from_payload(fields if isinstance(fields, dict) else {}))


@given(spoiled_json(INFO) | st.text(max_size=200))
def test_stored_connection_info(text):
    with contextlib.suppress(ProtocolError):
        check(ConnectionInfo.from_json(text))


@given(altered(RECORD) | json_values)
def test_kernel_records(value):
    if not (record := decoded(KernelRecord.from_json, value)):
        return
    assert KernelRecord.from_json(record.to_json()) == record
    # What a gateway does with the key of a record.
    with contextlib.suppress(ProtocolError):
        payload.open_reply(b"{}", record.launch_key, record.kernel_id, CHALLENGE)
    with contextlib.suppress(ProtocolError):
        payload.seal_command({}, record.launch_key, record.kernel_id, CHALLENGE)


@given(json_values | st.lists(st.text(max_size=9) | st.sampled_from(["mailbox"]), max_size=99))
def test_features(value):
    features = parse_features(value)
    assert len(features) <= 32
    assert parse_features(list(features)) == features
    assert all(len(each) <= 32 for each in features)


@given(altered(USAGE) | json_values)
def test_usage(value):
    try:
        received = json.loads(dumped(value))
    except (ValueError, RecursionError):  # refused when the reply is opened
        return
    with contextlib.suppress(ProtocolError):
        usage = Usage.from_json(received)
        shown = json.dumps(usage.to_json(), allow_nan=False)
        assert Usage.from_json(json.loads(shown)) == usage
        assert usage.memory_share >= 0
        warning(usage)


@given(spoiled_json({"version": 2, "challenge": CHALLENGE}))
def test_challenges(line):
    with contextlib.suppress(ProtocolError):
        assert 16 <= len(payload.parse_challenge(line)) <= 64
    assert payload.parse_challenge(wire.challenge_line(CHALLENGE)) == CHALLENGE


commands = st.just({"signum": 2}).map(
    lambda command: payload.seal_command(command, LAUNCH_KEY, KERNEL_ID, CHALLENGE)
)
replies = st.just({"ok": True}).map(lambda answer: LAUNCHER.reply(answer, CHALLENGE))
lines = (
    commands
    | replies
    | spoiled(commands | replies)
    | spoiled_json((commands | replies).map(json.loads))
)


@given(lines)
def test_commands_and_replies(line):
    with contextlib.suppress(wire.WireError):
        assert LAUNCHER.open_command(line, CHALLENGE) == {"signum": 2}
    with contextlib.suppress(wire.WireError):
        assert isinstance(wire.parse(line), dict)
    with contextlib.suppress(ProtocolError):
        assert payload.open_reply(line, LAUNCH_KEY, KERNEL_ID, CHALLENGE) == {"ok": True}


@given(json_values)
def test_sealed_replies(answer):
    line = LAUNCHER.reply(json.loads(json.dumps(answer)), CHALLENGE)
    with contextlib.suppress(ProtocolError):
        opened = payload.open_reply(line, LAUNCH_KEY, KERNEL_ID, CHALLENGE)
        assert isinstance(opened, dict)


@pytest.fixture(scope="module")
def listener():
    """A launcher's port for commands; its answers say which command it got."""
    with selectors.DefaultSelector() as selector, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        listener = CommandListener(selector, sock, LAUNCHER, lambda command: {"got": command})
        listener.serve = lambda: [key.data() for key, _ in selector.select(0)]
        listener.address = sock.getsockname()
        yield listener
        listener.close()


@given(lines.flatmap(cut), st.integers(0, 40))
def test_port_for_commands(listener, pieces, silent):
    with contextlib.ExitStack() as stack:
        for _ in range(silent):
            stack.enter_context(socket.create_connection(listener.address))
            listener.serve()
        with socket.create_connection(listener.address) as sock:
            listener.serve()
            for piece in pieces:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(piece)
                listener.serve()
            assert len(listener._connections) <= MAX_CONNECTIONS
            assert all(len(each.received) <= 2 * MAX_BYTES for each in listener._connections)
        listener.serve()
        with socket.create_connection(listener.address) as sock:
            sock.settimeout(60)
            listener.serve()
            challenge = payload.parse_challenge(sock.makefile("rb").readline())
            sock.sendall(payload.seal_command({"signum": 0}, LAUNCH_KEY, KERNEL_ID, challenge))
            listener.serve()
            reply = payload.open_reply(sock.recv(4096), LAUNCH_KEY, KERNEL_ID, challenge)
            assert reply == {"got": {"signum": 0}}


@given(
    st.binary(max_size=50).map(lambda data: data * 1000)
    | st.just(b"[" * 60000)
    | st.just(b"9" * 60000)
)
def test_long_input(data):
    for blob in (data, base64.b64encode(data)):
        with contextlib.suppress(ProtocolError):
            payload.parse_envelope(blob)
