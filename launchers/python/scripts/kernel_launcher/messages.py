"""The launcher's own messages to clients, signed like the kernel's."""

from __future__ import annotations

import hmac
import json
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel_launcher.execution import DELIMITER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The parts of a message after the delimiter and the signature.
HEADER, PARENT, METADATA, CONTENT = range(4)
# Headers of Jupyter's have some 300 bytes; longer ones are not read.
LONGEST_HEADER = 64 * 1024
# What a frame costs 0MQ and Python besides its content: even empty ones fill the memory.
FRAME_BYTES = 128


class Messages:
    """Builds messages.

    Args:
        key: the key of the connection info.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def sign(self, *parts: bytes) -> bytes:
        """Return the signature of the parts."""
        digest = hmac.new(self._key, digestmod="sha256")
        for part in parts:
            digest.update(part)
        return digest.hexdigest().encode()

    def build(
        self, message_type: str, content: Mapping[str, Any], parent: bytes = b"{}"
    ) -> list[bytes]:
        """Return the frames of a message, from the delimiter on."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": message_type,
            "username": "",
            "session": uuid.uuid4().hex,
            "date": datetime.now(timezone.utc).isoformat(),
            "version": "5.4",
        }
        parts = [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()]
        return [DELIMITER, self.sign(*parts), *parts]

    def output(self, text: str, parent: bytes, name: str = "stderr") -> list[bytes]:
        """Return the frames of a text in the output of a cell, as iopub has them."""
        content = {"name": name, "text": text}
        return [f"stream.{name}".encode(), *self.build("stream", content, parent)]


def parent_of(frames: Sequence[bytes]) -> bytes:
    """Return the parent header of a message, or an empty one if that makes no sense."""
    parent = _part(frames, PARENT)
    return parent if _parsed(parent) else b"{}"


def cost_of(frames: Sequence[bytes]) -> int:
    """Return the bytes of memory that a message takes."""
    return sum(map(len, frames)) + FRAME_BYTES * len(frames)


def session_that_waits_for(frames: Sequence[bytes]) -> bytes | None:
    """Return the session whose request a published message ends, or None if it ends none."""
    content = _part(frames, CONTENT)
    if b'"idle"' not in content or type_of(frames) != "status":
        return None
    session = _parsed(_part(frames, PARENT)).get("session")
    if not isinstance(session, str) or _parsed(content).get("execution_state") != "idle":
        return None
    return session.encode(errors="replace")


def type_of(frames: Sequence[bytes]) -> str:
    """Return the type of a message, or "" if it has none."""
    kind = _parsed(_part(frames, HEADER)).get("msg_type")
    return kind if isinstance(kind, str) else ""


def id_of(frames: Sequence[bytes]) -> str:
    """Return the id of a message, or "" if it has none, or one that is not text."""
    request = _parsed(_part(frames, HEADER)).get("msg_id")
    if not isinstance(request, str):
        return ""
    try:
        request.encode()
    except UnicodeEncodeError:  # JSON can hold halves of characters
        return ""
    return request


class Printed(NamedTuple):
    """The content of a `stream` message."""

    name: str
    text: str


def printed_by(frames: Sequence[bytes]) -> Printed | None:
    """Return what a message prints, or None if it is of another type or makes no sense."""
    if type_of(frames) != "stream":
        return None
    try:
        content = json.loads(_part(frames, CONTENT))
        name, text = content["name"], content["text"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    known = isinstance(text, str) and name in ("stdout", "stderr")
    return Printed(name, text) if known else None


def megabytes(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 2**20:.1f} MiB"


def _part(frames: Sequence[bytes], which: int) -> bytes:
    try:
        return frames[frames.index(DELIMITER) + 2 + which]
    except (ValueError, IndexError):
        return b""


def _parsed(part: bytes) -> dict[str, Any]:
    if len(part) > LONGEST_HEADER:
        return {}
    try:
        header = json.loads(part)
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}
