"""Messages as Jupyter's older websocket protocol has them: JSON, and a binary form for those with buffers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    serialize_binary_message,
)

from gateway_provisioners_client.session.frames import MalformedMessage

_PARTS = ("header", "parent_header", "metadata", "content")


def to_legacy(channel: str, parts: Sequence[bytes]) -> str | bytes:
    """Return a message of the kernel as a text frame, or as a binary one if it has buffers.

    Raises:
        MalformedMessage: a part is not a JSON object.
    """
    message: dict[str, Any] = {}
    for name, part in zip(_PARTS, parts, strict=False):
        message[name] = _object(part)
    message["msg_id"] = message["header"].get("msg_id")
    message["msg_type"] = message["header"].get("msg_type")
    message["channel"] = channel
    message["buffers"] = list(parts[len(_PARTS) :])
    if message["buffers"]:
        frame: bytes = serialize_binary_message(message)
        return frame
    return json.dumps(message)


def from_legacy(frame: str | bytes) -> tuple[str, list[bytes]]:
    """Return the channel of a client's message, and its header, parent header, metadata, content and buffers.

    Raises:
        MalformedMessage: the frame is not a message.
    """
    try:
        message = (
            deserialize_binary_message(frame) if isinstance(frame, bytes) else json.loads(frame)
        )
        parts = [
            json.dumps(message.get(name) or {}, default=json_default).encode() for name in _PARTS
        ]
        # Browsers send the older protocol's buffers in binary frames only.
        buffers = message["buffers"] if isinstance(frame, bytes) else []
        return str(message.get("channel") or "shell"), [*parts, *buffers]
    except Exception as error:
        # jupyter_server's function fails in many ways at bytes that are not a message.
        raise MalformedMessage from error


def _object(part: bytes) -> dict[str, Any]:
    try:
        value = json.loads(part)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage from error
    if not isinstance(value, dict):
        raise MalformedMessage
    return value
