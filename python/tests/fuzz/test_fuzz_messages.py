"""Messages of clients and kernels are passed on or refused, whatever the bytes are."""

import contextlib
import itertools
import json
import struct
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jupyter_client.session import Session

from fuzz.hostile import altered, cut, dumped, json_values, shaped_frames, spoiled, spoiled_json
from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.channels.frames import FrameCounter
from gateway_provisioners.gateway.kernels.activity import STATES, ActivityWatch
from gateway_provisioners.gateway.websocket import messages, serialization
from gateway_provisioners.gateway.websocket.losses import Losses
from gateway_provisioners.gateway.websocket.requests import Requests
from gateway_provisioners.gateway.websocket.too_large import request_in
from kernel_launcher import messages as launchers
from kernel_launcher.execution import ExecutionState

DELIMITER = b"<IDS|MSG>"
KEY = b"the-key-of-the-connection-info"
HEADER = {
    "msg_id": "an-id",
    "msg_type": "execute_request",
    "username": "alice",
    "session": "a-session",
    "date": "2026-01-01T00:00:00Z",
    "version": "5.4",
}
CONTENT = {"code": "print(1)", "silent": False, "nested": [{"a": [1.5, None]}]}
MESSAGE = {
    "channel": "shell",
    "header": HEADER,
    "parent_header": {},
    "metadata": {"tags": []},
    "content": CONTENT,
    "buffers": [],
}
FROM_KERNEL = [
    {**HEADER, "msg_type": "status"},
    HEADER,
    {},
    {"execution_state": "idle", "name": "stdout", "text": "a\n"},
]
KINDS = ("status", "stream", "execute_reply", "display_data", "clear_output")


def python_only(constant):
    raise ValueError(f"{constant} is not JSON")


def strictly(data):
    """Read JSON as browsers do: UTF-8, without NaN."""
    text = data if isinstance(data, str) else str(data, "utf-8")
    # Python itself reads no integer of thousands of digits.
    return json.loads(text, parse_constant=python_only, parse_int=str)


def check_header(header):
    """Check that the fields of a header can be written again."""
    strictly(json.dumps(dict(header)))
    json.dumps(dict(header), ensure_ascii=False).encode()


json_parts = spoiled_json(st.sampled_from([HEADER, CONTENT, {}]))
sound_parts = st.sampled_from([HEADER, CONTENT, {}]).map(dumped)


@st.composite
def kernel_messages(draw):
    """Draw the frames of a message as kernels publish it."""
    kind = draw(st.sampled_from(KINDS))
    values = [{**FROM_KERNEL[0], "msg_type": kind}, *FROM_KERNEL[1:]]
    parts = [dumped(draw(altered(value, most=1))) for value in values]
    signature = Session(key=KEY).sign(parts)
    buffers = draw(st.lists(st.binary(max_size=9), max_size=2))
    return [b"kernel.id.status", DELIMITER, signature, *parts, *buffers]


@pytest.fixture(scope="module")
def session():
    return Session(key=KEY)


@given(shaped_frames(kernel_messages()))
def test_messages_of_kernels(session, frames):
    try:
        parts = messages.message_parts(frames)
    except ProtocolError:
        return
    assert messages.is_signed(session, frames) in (True, False)
    assert messages.is_output(parts) in (True, False)
    header = serialization.parsed_header(parts[0])
    check_header(header)
    if (text := messages.stream_text(parts[3])) is not None:
        assert "".join(piece["text"] for piece in text.pieces()) == text.text
    losses = Losses()
    losses.add(parts[1], 5)
    said = []
    losses.report(lambda *words: said.append(words), "a reason")
    assert len(json.dumps(said).encode()) < 20_000
    v1 = b"".join(serialization.to_v1("iopub", parts))
    assert serialization.from_v1(v1) == ("iopub", [*map(memoryview, parts)])
    with contextlib.suppress(ProtocolError):
        check_json(serialization.to_json("iopub", parts), parts)


def check_json(written, parts):
    """Check that a message in the older protocol is what the kernel sent."""
    pieces, binary = written
    whole = b"".join(pieces)
    text = whole
    if binary:
        count = struct.unpack_from("!I", whole)[0]
        offsets = struct.unpack_from(f"!{count}I", whole, 4)
        ends = [*offsets[1:], len(whole)]
        text, *buffers = [whole[begin:end] for begin, end in zip(offsets, ends, strict=True)]
        assert buffers == list(map(bytes, parts[4:]))
    fields = strictly(text)
    assert fields["channel"] == "iopub"
    assert all(isinstance(fields[name], dict) for name in ("header", "content", "metadata"))
    assert set(fields) >= {"msg_id", "msg_type", "parent_header"}


@given(st.tuples(json_parts, json_parts, json_parts, json_parts), st.booleans())
def test_json_of_kernels(parts, buffer):
    """Parts are put together as text: each must be one JSON object and nothing else."""
    parts = [*parts, *([b"\0"] if buffer else [])]
    with contextlib.suppress(ProtocolError):
        check_json(serialization.to_json("iopub", parts), parts)


@given(json_parts)
def test_one_part_of_four(part):
    for place in range(4):
        parts = [b"{}"] * 4
        parts[place] = part
        with contextlib.suppress(ProtocolError):
            check_json(serialization.to_json("iopub", parts), parts)


v1_messages = st.tuples(
    st.sampled_from(["shell", "control", "stdin", "iopub", ""]),
    st.lists(sound_parts | st.binary(max_size=20), min_size=4, max_size=7),
).map(lambda drawn: b"".join(serialization.to_v1(*drawn)))


@st.composite
def counted(draw, form, parts):
    """Draw parts with offsets in front, some of which make no sense."""
    drawn = draw(st.lists(parts, min_size=1, max_size=7))
    size = struct.calcsize(form)
    offsets = list(itertools.accumulate(map(len, drawn), initial=size * (len(drawn) + 2)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(offsets) - 1))
        offsets[at] = draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 200))
    count = draw(st.just(len(offsets)) | st.sampled_from([0, 1, 2, 10_001, 2**32 - 1]))
    packed = b"".join(struct.pack(f"{form[0]}{form[1]}", each) for each in (count, *offsets))
    return packed + b"".join(drawn)


def check_client(message):
    assert len(message.channel) <= 64
    assert len(message.parts) >= 4
    header = serialization.parsed_header(message.parts[0])
    check_header(header)
    assert isinstance(serialization.is_object(message.parts[3]), bool)


@given(v1_messages | spoiled(v1_messages) | counted("<Q", json_parts) | st.binary(max_size=99))
def test_messages_of_clients_in_v1(data):
    with contextlib.suppress(ProtocolError):
        check_client(serialization.from_v1(data))
    channel, header = request_in(data, v1=True, text=False)
    assert channel in ("shell", "control", "stdin")
    check_header(header)


@given(spoiled_json(MESSAGE), st.booleans())
def test_messages_of_clients_in_json(data, text):
    with contextlib.suppress(ProtocolError):
        message = serialization.from_json(data, text=text)
        check_client(message)
        assert sum(map(len, message.parts)) <= 12 * len(data) + 8
    channel, header = request_in(data, v1=False, text=text)
    assert channel in ("shell", "control", "stdin")
    check_header(header)


@given(counted("!I", spoiled_json(MESSAGE)))
def test_messages_of_clients_with_buffers(data):
    with contextlib.suppress(ProtocolError):
        check_client(serialization.from_json(data, text=False))


@given(altered(MESSAGE).map(dumped))
def test_messages_of_clients_mean_the_same(data):
    """The gateway reads a message as any reader of JSON does."""
    try:
        message = serialization.from_json(data, text=True)
    except ProtocolError:
        return
    fields = json.loads(data, parse_int=str, parse_constant=lambda _: None)
    channel = fields.get("channel")
    assert message.channel == ("shell" if channel is None else channel[:64])
    names = ("header", "parent_header", "metadata", "content")
    for name, part in zip(names, message.parts, strict=True):
        with contextlib.suppress(ValueError):
            assert strictly(part) == strictly(dumped(fields.get(name, {})))


class Subscriber:
    """Counts what is subscribed to."""

    def __init__(self):
        self.topics = {b""}

    def subscribe(self, topic):
        self.topics.add(topic)

    def unsubscribe(self, topic):
        self.topics.discard(topic)


def published(kind, state, parent="execute_request", topic=b"kernel.id.status"):
    parts = [{"msg_type": kind}, {"msg_type": parent}, {}, {"execution_state": state}]
    return [topic, DELIMITER, b"", *map(dumped, parts)]


statuses = st.tuples(
    st.sampled_from(KINDS), st.sampled_from(["busy", "idle", "starting"]) | json_values
).map(lambda drawn: published(*drawn))


@given(st.lists(shaped_frames(statuses | kernel_messages()), max_size=8))
def test_activity(many):
    clock = itertools.count()
    kernel = SimpleNamespace(
        kernel_id="an-id", execution_state="idle", last_activity=0, running=Requests(8)
    )
    subscriber = Subscriber()
    watch = ActivityWatch(kernel, lambda kind: kind is not None, lambda: next(clock), subscriber)
    for frames in many:
        watch.follow(frames)
        assert kernel.execution_state in STATES
        assert subscriber.topics
    for state in ("busy", "idle"):
        watch.follow(published("status", state))
        assert kernel.execution_state == state


GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01" + b"\0" * 52


def zmtp(size, flags=0):
    if size > 255:
        return bytes([flags | 2]) + size.to_bytes(8, "big") + b"x" * size
    return bytes([flags, size]) + b"x" * size


streams = st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 1, 4, 5])), max_size=9).map(
    lambda sizes: GREETING + b"".join(zmtp(*each) for each in sizes)
)


@given((streams | spoiled(streams) | st.binary(max_size=200)).flatmap(cut))
def test_frames_of_0mq(pieces):
    """The count is the same however the bytes are cut; each frame takes at least two of them."""
    whole, counter, total = FrameCounter(), FrameCounter(), 0
    assume(pieces)
    try:
        expected = whole.count(b"".join(pieces))
    except ProtocolError:
        expected = None
    try:
        for piece in pieces:
            total += counter.count(memoryview(piece))
            assert len(counter._header) < 9
    except ProtocolError:
        total = None
    assert total == expected
    assert total is None or 2 * total <= sum(map(len, pieces))


@given(shaped_frames(kernel_messages()))
def test_launchers_read_their_kernels(frames):
    """A kernel is the user's code: its launcher must go on whatever it publishes."""
    assert isinstance(launchers.type_of(frames), str)
    assert isinstance(launchers.parent_of(frames), bytes)
    assert isinstance(launchers.session_that_waits_for(frames), bytes | None)
    printed = launchers.printed_by(frames)
    assert printed is None or printed.name in ("stdout", "stderr")
    state = ExecutionState()
    state.follow(frames)
