"""The request in a client's message that was too large to be read."""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Mapping
from typing import Any

from gateway_provisioners.gateway.websocket.serialization import parsed_header

_HEADER = re.compile(r'"header"\s*:\s*(?=\{)')
_CHANNEL = re.compile(r'"channel"\s*:\s*"(shell|control|stdin)"')
_MOST_OFFSETS = 10_000
# Each place that looks like a header is read, perhaps to the message's end: a client can write thousands.
_MOST_HEADERS = 16


def request_in(message: bytes, *, v1: bool, text: bool) -> tuple[str, Mapping[str, Any]]:
    """Return a message's channel and its header, which is empty if it cannot be found.

    Args:
        message: the beginning and the end of the message.
        v1: whether it is in the protocol V1.
        text: whether it was sent as text.
    """
    if v1 and not text:
        return _in_v1(message)
    words = message.decode("utf-8", "replace")
    channel = _CHANNEL.search(words)
    return (channel[1] if channel else "shell"), _in_json(words)


def _in_v1(message: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        (count,) = struct.unpack_from("<Q", message)
        offsets = struct.unpack_from(f"<{min(count, _MOST_OFFSETS)}Q", message, 8)
        channel = message[offsets[0] : offsets[1]].decode("ascii", "replace")
        header = parsed_header(message[offsets[1] : offsets[2]])
    except (struct.error, IndexError):
        return "shell", {}
    return (channel if channel in ("shell", "control", "stdin") else "shell"), header


def _in_json(words: str) -> Mapping[str, Any]:
    decoder = json.JSONDecoder()
    for found in itertools.islice(_HEADER.finditer(words), _MOST_HEADERS):
        try:
            _, end = decoder.raw_decode(words, found.end())
        except (ValueError, RecursionError):
            continue
        header = parsed_header(words[found.end() : end].encode())
        if "msg_id" in header and "msg_type" in header:
            return header
    return {}
