"""Messages of a kernel: their parts, and those that take the place of messages that cannot be delivered."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_client.session import DELIM, Session

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_MOST_IDENTITIES = 16
_MOST_PARTS = 10_000
_JSON_PARTS = 4
# What is published about a cell besides its output.
_PROGRESS = frozenset({"status", "execute_input", "iopub_welcome", "shutdown_reply"})


def message_parts(frames: Sequence[Part]) -> Sequence[Part]:
    """Return header, parent header, metadata, content and buffers of a message.

    Raises:
        ProtocolError: it is not a message of Jupyter's.
    """
    return frames[_delimiter(frames) + 2 :]


def is_signed(session: Session, frames: Sequence[Part]) -> bool:
    """Return whether a message has the signature of the session's key."""
    at = _delimiter(frames)
    signature = bytes(frames[at + 1][:1024])
    expected = session.sign(list(frames[at + 2 : at + 2 + _JSON_PARTS]))
    return session.auth is None or hmac.compare_digest(signature, expected)


def is_output(parts: Sequence[Part]) -> bool:
    """Return whether a published message is output, and not progress of the cell."""
    return parsed_header(parts[0]).get("msg_type") not in _PROGRESS


def packed(
    session: Session, kind: str, content: Mapping[str, Any], parent: Mapping[str, Any]
) -> list[bytes]:
    """Return the parts of a message of our own."""
    message = session.msg(kind, dict(content))
    message["parent_header"] = dict(parent)
    names = ("header", "parent_header", "metadata", "content")
    return [session.pack(message[name]) for name in names]


def error_reply(session: Session, kind: str, reason: str, parent: Mapping[str, Any]) -> list[bytes]:
    """Return a reply of the given type that says why there is no other."""
    content = {"status": "error", "ename": "GatewayError", "evalue": reason, "traceback": [reason]}
    return packed(session, kind, content, parent)


def _delimiter(frames: Sequence[Part]) -> int:
    if len(frames) <= _MOST_PARTS:
        for at, frame in enumerate(frames[:_MOST_IDENTITIES]):
            if frame == DELIM and len(frames) >= at + 2 + _JSON_PARTS:
                return at
    raise ProtocolError("it does not have the parts of a message")
