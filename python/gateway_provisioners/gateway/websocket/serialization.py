"""The messages of both websocket protocols, from and to the frames of Jupyter's wire protocol.

What kernels and clients have written as JSON is checked, and passed on as it is: to parse and to write it
again costs several times its size in memory, and keeps the event loop for as long.
"""

from __future__ import annotations

import codecs
import json
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from gateway_provisioners.errors import ProtocolError

V1 = "v1.kernel.websocket.jupyter.org"

Part = bytes | memoryview

_HEADER, _PARENT, _METADATA, _CONTENT, _BUFFERS = range(5)
# Jupyter's messages have two dozen header fields at most; clients and kernels may add their own.
_LONGEST_HEADER = 64 * 1024
_MOST_BUFFERS = 10_000
_LONGEST_CHANNEL = 64
# JSON that only Python understands, such as NaN, is written again up to this size.
_REWRITTEN_BYTES = 2**20
_CHECKED_BYTES = 64 * 1024
_raw = msgspec.json.Decoder(msgspec.Raw)


class FromClient(NamedTuple):
    """A message of a client: its channel, and header, parent header, metadata, content, buffers."""

    channel: str
    parts: list[Part]


class _JsonMessage(msgspec.Struct):
    header: msgspec.Raw
    content: msgspec.Raw = msgspec.Raw(b"{}")
    parent_header: msgspec.Raw = msgspec.Raw(b"{}")
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    channel: str | None = None


_json_message = msgspec.json.Decoder(_JsonMessage)


def to_v1(channel: str, parts: Sequence[Part]) -> list[Part]:
    """Return a message in the protocol V1: binary, with the offsets of its parts first."""
    name = channel.encode()
    offsets = [8 * (len(parts) + 3)]
    for part in (name, *parts):
        offsets.append(offsets[-1] + len(part))
    return [struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), name, *parts]


def to_json(channel: str, parts: Sequence[Part]) -> tuple[list[Part], bool]:
    """Return a message in the older protocol, and whether it is binary, as it is if it has buffers.

    Raises:
        ProtocolError: the kernel's message is not JSON.
    """
    header, parent, metadata, content = (_checked(part) for part in parts[:_BUFFERS])
    fields = parsed_header(header)
    names = {"msg_id": fields.get("msg_id", ""), "msg_type": fields.get("msg_type", "")}
    text: list[Part] = [
        *(b'{"header": ', header, b", ", json.dumps(names).encode()[1:-1]),
        *(b', "parent_header": ', parent, b', "metadata": ', metadata, b', "content": ', content),
    ]
    buffers = parts[_BUFFERS:]
    end = {"channel": channel} if buffers else {"buffers": [], "channel": channel}
    text += [b", ", json.dumps(end).encode()[1:]]
    if not buffers:
        return text, False
    offsets = [4 * (len(buffers) + 2)]
    for size in (sum(map(len, text)), *map(len, buffers[:-1])):
        offsets.append(offsets[-1] + size)
    return [struct.pack(f"!{len(offsets) + 1}I", len(offsets), *offsets), *text, *buffers], True


def from_v1(message: bytes) -> FromClient:
    """Read a message of the protocol V1.

    Raises:
        ProtocolError: the client does not speak the protocol.
    """
    view = memoryview(message)
    try:
        (count,) = struct.unpack_from("<Q", view)
        if not _BUFFERS + 2 <= count <= _MOST_BUFFERS:
            raise ProtocolError("it has a wrong number of parts")
        offsets = struct.unpack_from(f"<{count}Q", view, 8)
    except struct.error:
        raise ProtocolError("its offsets are cut off") from None
    if list(offsets) != sorted(offsets) or offsets[-1] > len(view):
        raise ProtocolError("its offsets make no sense")
    name, *parts = (view[start:end] for start, end in pairwise(offsets))
    return FromClient(_channel(bytes(name[:_LONGEST_CHANNEL])), list(parts))


def from_json(message: bytes, *, text: bool) -> FromClient:
    """Read a message of the older protocol: text, or binary if it has buffers.

    A stock Jupyter server in front of the gateway sends binary messages of its clients as text, unchanged.
    They begin with a zero byte, the first of a small number, and JSON never does.

    Raises:
        ProtocolError: the client does not speak the protocol.
    """
    view = memoryview(message)
    is_json = text and bytes(view[:1]) != b"\0"
    body, *buffers = [view] if is_json else _binary_parts(view)
    fields = _json_fields(body)
    parts = [fields.header, fields.parent_header, fields.metadata, fields.content]
    return FromClient(
        "shell" if fields.channel is None else fields.channel[:_LONGEST_CHANNEL],
        [*(memoryview(part) for part in parts), *buffers],
    )


def parsed_header(part: Part) -> Mapping[str, Any]:
    """Return the plain fields of a header or parent header, none if it is malformed.

    What only Python takes for JSON is malformed, and what is nested is left out: such values may be
    impossible to write again.
    """
    if len(part) > _LONGEST_HEADER:
        return {}
    try:
        header = msgspec.json.decode(part)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    if not isinstance(header, dict):
        return {}
    return {name: value for name, value in header.items() if not isinstance(value, dict | list)}


def is_object(part: Part) -> bool:
    """Return whether a part begins like a JSON object."""
    return bytes(part[:64]).lstrip()[:1] == b"{"


def _json_fields(body: Part) -> _JsonMessage:
    try:
        return _json_message.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        fields = _loaded(body)
        if not (
            isinstance(fields, dict)
            and isinstance(fields.get("header"), dict)
            and isinstance(fields.get("channel"), str | None)
        ):
            raise ProtocolError(f"it is not a message: {str(error)[:200]}") from None
    raw = {
        name: msgspec.Raw(_dumped(fields[name]))
        for name in ("header", "parent_header", "metadata", "content")
        if name in fields
    }
    return _JsonMessage(**raw, channel=fields.get("channel"))


def _checked(part: Part) -> Part:
    """Return a JSON object as it can be a part of other JSON.

    Raises:
        ProtocolError: it is not one.
    """
    if not is_object(part):
        raise ProtocolError("a part of it is not a JSON object")
    try:
        _raw.decode(part)
        _check_utf8(part)
    except (ValueError, RecursionError):
        return _rewritten(part)
    return part


def _check_utf8(part: Part) -> None:
    """Raise a ValueError if a part is not UTF-8, without another copy, which could be 4 times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(part), _CHECKED_BYTES):
        decoder.decode(part[start : start + _CHECKED_BYTES])
    decoder.decode(b"", final=True)


def _rewritten(part: Part) -> bytes:
    """Write Python's JSON in the way of all others: NaN becomes null."""
    return _dumped(_loaded(part))


def _loaded(part: Part) -> Any:
    """Read what only Python takes for JSON, if it is small.

    Raises:
        ProtocolError: it is large, or not even that.
    """
    if len(part) > _REWRITTEN_BYTES:
        raise ProtocolError("a part of it is not JSON")
    try:
        return json.loads(str(part, "utf-8", "replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise ProtocolError("a part of it is not JSON") from None


def _dumped(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise ProtocolError("a part of it is not JSON") from None


def _binary_parts(view: memoryview) -> list[memoryview]:
    try:
        (count,) = struct.unpack_from("!I", view)
        if not 1 <= count <= _MOST_BUFFERS:
            raise ProtocolError("it has a wrong number of parts")
        offsets = struct.unpack_from(f"!{count}I", view, 4)
    except struct.error:
        raise ProtocolError("its offsets are cut off") from None
    if list(offsets) != sorted(offsets) or offsets[-1] > len(view):
        raise ProtocolError("its offsets make no sense")
    return [view[start:end] for start, end in zip(offsets, (*offsets[1:], len(view)), strict=True)]


def _channel(name: bytes) -> str:
    return name.decode("ascii", "replace")
