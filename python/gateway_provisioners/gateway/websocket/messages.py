"""Messages of a kernel: their parts, and those that take the place of messages that cannot be delivered."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from jupyter_client.session import DELIM, Session

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_MOST_IDENTITIES = 16
_MOST_PARTS = 10_000
_JSON_PARTS = 4
# JSON writes a character in up to 12 bytes: a piece has at most 3 MiB.
_PIECE_CHARACTERS = 2**18
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


class StreamText(msgspec.Struct):
    """The content of a `stream` message."""

    name: str
    text: str

    def pieces(self) -> Iterator[dict[str, str]]:
        """Yield the contents of several messages with the same text."""
        for start in range(0, len(self.text), _PIECE_CHARACTERS):
            yield {"name": self.name, "text": self.text[start : start + _PIECE_CHARACTERS]}


_stream_text = msgspec.json.Decoder(StreamText)


def stream_text(content: Part) -> StreamText | None:
    """Return the content of a `stream` message, or None if it makes no sense."""
    try:
        return _stream_text.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def packed(
    session: Session, kind: str, content: Mapping[str, Any], parent: Mapping[str, Any]
) -> list[bytes]:
    """Return the parts of a message of our own."""
    message = session.msg(kind, dict(content))
    message["parent_header"] = dict(parent)
    names = ("header", "parent_header", "metadata", "content")
    return [session.pack(message[name]) for name in names]


def error_content(reason: str, *, name: str = "GatewayError", details: str = "") -> dict[str, Any]:
    """Return the content of an `error` output, and of the reply that takes the place of the kernel's.

    Args:
        name: takes the place of an exception's.
        details: lines that are shown as well.
    """
    return {"ename": name, "evalue": reason, "traceback": [reason, *details.splitlines()]}


def error_reply(session: Session, kind: str, reason: str, parent: Mapping[str, Any]) -> list[bytes]:
    """Return a reply of the given type that says why there is no other."""
    return packed(session, kind, {"status": "error", **error_content(reason)}, parent)


def _delimiter(frames: Sequence[Part]) -> int:
    if len(frames) <= _MOST_PARTS:
        for at, frame in enumerate(frames[:_MOST_IDENTITIES]):
            if frame == DELIM and len(frames) >= at + 2 + _JSON_PARTS:
                return at
    raise ProtocolError("it does not have the parts of a message")
