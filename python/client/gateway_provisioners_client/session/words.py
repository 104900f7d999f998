"""Messages of our own, in the words of a kernel, for those who wait for one."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

Parts = list[bytes]

_session = uuid.uuid4().hex


def short_header(header: bytes) -> dict[str, Any]:
    """Return a header; {} if it is not valid."""
    try:
        value = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def text_of(header: dict[str, Any], key: str) -> str:
    """Return a text of a header; "" if it is missing or not a text."""
    value = header.get(key)
    return value if isinstance(value, str) else ""


def message(msg_type: str, parent: bytes, content: dict[str, Any]) -> Parts:
    """Return a message of ours that answers the one with this header.

    Args:
        msg_type: for example "stream".
        parent: the header of the request, serialized; b"{}" for none.
        content: of the message.
    """
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": msg_type,
        "username": "gateway-provisioners-client",
        "session": _session,
        "date": datetime.now(timezone.utc).isoformat(),
        "version": "5.3",
    }
    return [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()]


def stream(parent: bytes, text: str, name: str = "stderr") -> Parts:
    """Return output of the cell with this request."""
    return message("stream", parent, {"name": name, "text": text})


def status(parent: bytes, state: str) -> Parts:
    """Return the kernel's state: "starting", "busy", "idle" or "dead"."""
    return message("status", parent, {"execution_state": state})


def reply_type(header: dict[str, Any]) -> str:
    """Return the type of the reply to a request; "" if it has none."""
    msg_type = text_of(header, "msg_type")
    return msg_type[: -len("request")] + "reply" if msg_type.endswith("_request") else ""


def error(name: str, text: str) -> dict[str, Any]:
    """Return the content of a reply that is an error."""
    return {
        "status": "error",
        "ename": name,
        "evalue": text,
        "traceback": [f"{name}: {text.strip()}"],
        "execution_count": 0,
        "payload": [],
        "user_expressions": {},
    }
