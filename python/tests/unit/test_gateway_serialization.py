"""Both websocket protocols: as jupyter_server itself writes and reads them."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket import serialization

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)
buffers = st.lists(st.binary(max_size=100), max_size=3)
channels = st.sampled_from(["iopub", "shell", "control", "stdin"])


def parts_of(header, parent, metadata, content, *others):
    return [*(json.dumps(part).encode() for part in (header, parent, metadata, content)), *others]


def joined(parts):
    return b"".join(parts)


@given(channels, objects, objects, buffers)
def test_v1_is_what_jupyter_server_writes_and_reads(channel, header, content, others):
    parts = parts_of(header, {}, {}, content, *others)
    written = joined(serialization.to_v1(channel, parts))
    assert written == serialize_msg_to_ws_v1(parts, channel)
    assert deserialize_msg_from_ws_v1(written) == (channel, parts)
    read = serialization.from_v1(written)
    assert (read.channel, [bytes(part) for part in read.parts]) == (channel, parts)


@given(channels, objects, objects)
def test_text_has_what_jupyter_server_sends(channel, parent, content):
    session = Session(key=b"key")
    message = session.msg("stream", content)
    message["parent_header"] = parent
    parts = [session.pack(message[n]) for n in ("header", "parent_header", "metadata", "content")]
    text, binary = serialization.to_json(channel, parts)
    assert not binary
    _, fed = session.feed_identities([b"<IDS|MSG>", session.sign(parts), *parts])
    expected = session.deserialize(fed)
    sent = json.loads(joined(text))
    assert sent.keys() == {*expected, "channel"}
    assert sent["header"] == json.loads(parts[0])
    assert (sent["parent_header"], sent["content"]) == (parent, content)
    assert (sent["msg_id"], sent["msg_type"]) == (message["msg_id"], "stream")
    assert (sent["buffers"], sent["channel"]) == ([], channel)


@given(objects, st.lists(st.binary(max_size=100), min_size=1, max_size=3))
def test_binary_message_is_one_that_jupyter_server_reads(content, others):
    header = {"msg_id": "i", "msg_type": "comm_msg"}
    data, binary = serialization.to_json("iopub", parts_of(header, {}, {}, content, *others))
    assert binary
    read = deserialize_binary_message(joined(data))
    assert (read["content"], [bytes(each) for each in read["buffers"]]) == (content, others)
    assert read["channel"] == "iopub"


@given(channels, objects, buffers)
def test_client_messages_of_the_older_protocol_are_read(channel, content, others):
    message = {
        "channel": channel,
        "header": {"msg_id": "i", "msg_type": "execute_request"},
        "parent_header": {},
        "metadata": {"a": 1},
        "content": content,
        "buffers": others,
    }
    text = json.dumps({**message, "buffers": []}).encode()
    sent = serialize_binary_message(message) if others else text
    read = serialization.from_json(sent, text=not others)
    header, parent, metadata, got, *got_buffers = read.parts
    assert read.channel == channel
    assert [json.loads(bytes(each)) for each in (header, parent, metadata, got)] == [
        *(message["header"], {}, {"a": 1}, content)
    ]
    assert [bytes(each) for each in got_buffers] == others


@given(st.binary(max_size=200))
def test_garbage_of_a_client_is_a_protocol_error(data):
    for read in (
        serialization.from_v1,
        partial(serialization.from_json, text=True),
        partial(serialization.from_json, text=False),
    ):
        try:
            read(data)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "content",
    [
        b'{}, "channel": "shell"',
        b'{"a": 1',
        b"[]",
        b"null",
        b"",
        b'{"a": "\xff"' + b"}" * 2,
        b"{" * 100_000,
    ],
)
def test_content_that_is_no_object_cannot_become_structure(content):
    with pytest.raises(ProtocolError):
        serialization.to_json("iopub", [b"{}", b"{}", b"{}", content])


def test_json_of_python_alone_becomes_json_of_all():
    text, _ = serialization.to_json("iopub", [b"{}", b"{}", b"{}", b'{"a": NaN, "b": [-Infinity]}'])
    assert json.loads(joined(text))["content"] == {"a": None, "b": [None]}


@pytest.mark.parametrize("channel", ['"\\ud83d"', "NaN"])
def test_client_messages_that_only_python_reads_are_read(channel):
    sent = f'{{"header": {{"msg_id": "i"}}, "content": {{"code": {channel}}}}}'
    read = serialization.from_json(sent.encode(), text=True)
    assert json.loads(bytes(read.parts[0])) == {"msg_id": "i"}
    assert json.loads(bytes(read.parts[3]))["code"] in ("\ud83d", None)


def test_channel_that_is_no_text_is_not_the_shell():
    sent = b'{"header": {}, "channel": %b}'
    assert serialization.from_json(sent % b'"\xff"', text=True).channel == "\ufffd"
    assert serialization.from_json(b'{"header": {}, "a": NaN}', text=True).channel == "shell"
    for channel in (b"5", b"[]", b"{}"):
        with pytest.raises(ProtocolError):
            serialization.from_json(sent % channel, text=True)


@pytest.mark.parametrize(
    "header",
    [b'{"msg_id": "\\ud800"}', b'{"msg_id": NaN}', b'{"msg_id": 1e999}', b'{"a": "\xff"}', b"5"],
)
def test_header_that_cannot_be_written_again_is_empty(header):
    assert serialization.parsed_header(header) == {}


def test_id_that_is_no_number_for_others_is_not_written():
    text, _ = serialization.to_json("iopub", [b'{"msg_id": 1e999}', b"{}", b"{}", b"{}"])
    assert b"Infinity" not in joined(text)


def test_part_that_is_not_utf_8_is_found_at_any_place():
    for position in (0, 64 * 1024 - 1, 200_000 - 1):
        text = b"a" * position + "\U0001f600".encode() + b"a" * (200_000 - position)
        content = b'{"text": "' + text + b'"}'
        serialization.to_json("iopub", [b"{}", b"{}", b"{}", content])
        message, _ = serialization.to_json(
            "iopub", [b"{}", b"{}", b"{}", content.replace(b"\xf0", b"\xff")]
        )
        assert json.loads(joined(message))
