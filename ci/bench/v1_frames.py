"""Messages of the protocol v1.kernel.websocket.jupyter.org, as a plain client writes and reads them."""

from __future__ import annotations

import itertools
import json
from typing import Any

V1 = "v1.kernel.websocket.jupyter.org"


def execute_request(message_id: str, code: str) -> dict[str, Any]:
    """Return the message that asks for an execution."""
    header = {"msg_id": message_id, "msg_type": "execute_request", "session": "bench"}
    header |= {"username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content}


def to_v1(message: dict[str, Any]) -> bytes:
    """Return a message for the shell channel as a binary frame."""
    parts = [b"shell", *(json.dumps(message[name]).encode() for name in message)]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    return b"".join([*(number.to_bytes(8, "little") for number in numbers), *parts])


def from_v1(frame: bytes) -> dict[str, Any]:
    """Return a message, with its type and all of its JSON read."""
    count = int.from_bytes(frame[:8], "little")
    offsets = [int.from_bytes(frame[8 * (n + 1) : 8 * (n + 2)], "little") for n in range(count)]
    parts = [frame[begin:end] for begin, end in itertools.pairwise(offsets)]
    names = ("header", "parent_header", "metadata", "content")
    return {name: json.loads(part) for name, part in zip(names, parts[1:5], strict=True)}
