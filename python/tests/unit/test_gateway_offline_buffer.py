"""The buffer for a kernel's messages while no client is connected."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.gateway.websocket.offline_buffer import OfflineBuffer

KINDS = ["stream", "display_data", "status", "execute_reply"]


def message(kind, cell, size):
    parts = [json.dumps(part).encode() for part in ({"msg_type": kind}, {"msg_id": cell}, {})]
    channel = "shell" if kind.endswith("reply") else "iopub"
    return channel, [b"<IDS|MSG>", b"", *parts, b"x" * size]


messages = st.lists(
    st.builds(message, st.sampled_from(KINDS), st.sampled_from("ab"), st.integers(0, 50))
)


def size(message):
    return sum(map(len, message[1]))


def is_output(message):
    return b"stream" in message[1][2] or b"display" in message[1][2]


@given(messages, st.integers(0, 2000))
def test_newest_output_is_kept_in_order_and_the_rest_is_counted(sent, max_bytes):
    buffer = OfflineBuffer(max_bytes)
    for each in sent:
        buffer.append(each)
    kept = list(buffer)
    assert sum(map(size, kept)) <= max_bytes
    reports = []
    buffer.losses.report(lambda words, parent: reports.append((words, parent["msg_id"])), "why")
    assert len(kept) + sum(int(words.split()[0]) for words, _ in reports) == len(sent)
    output = [each for each in kept if is_output(each)]
    assert not output or output == [each for each in sent if is_output(each)][-len(output) :]


@given(messages)
def test_nothing_is_dropped_below_the_limit(sent):
    buffer = OfflineBuffer(10**6)
    for each in sent:
        buffer.append(each)
    assert list(buffer) == sent
    assert not buffer.losses


def test_reply_outlives_output_that_came_later():
    reply = message("execute_reply", "a", 50)
    buffer = OfflineBuffer(400)
    buffer.append(reply)
    for _ in range(10):
        buffer.append(message("stream", "a", 50))
    assert next(iter(buffer)) == reply
