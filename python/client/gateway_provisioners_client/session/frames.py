"""Messages as the protocol v1.kernel.websocket.jupyter.org frames them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

CHANNELS = frozenset({"shell", "control", "stdin", "iopub"})

# A channel and header, parent header, metadata, content.
_LEAST_PARTS = 5
# With buffers: each part costs memory of its own, whatever its size.
_MOST_PARTS = 65_536


class MalformedMessage(Exception):
    """A frame that no kernel's message can be."""


def to_v1(channel: str, parts: Sequence[bytes | memoryview]) -> bytes:
    """Return a message as one binary frame.

    Args:
        channel: that of the kernel.
        parts: header, parent header, metadata, content and buffers, serialized.
    """
    body = (channel.encode(), *parts)
    offsets = [8 * (len(body) + 2)]
    for part in body:
        offsets.append(offsets[-1] + len(part))
    return b"".join((struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), *body))


def from_v1(data: bytes) -> tuple[str, list[bytes]]:
    """Return the channel of a binary frame, and header, parent header, metadata, content and buffers.

    Raises:
        MalformedMessage: the frame is not a message of a kernel.
    """
    if len(data) < 8:
        raise MalformedMessage
    (number,) = struct.unpack_from("<Q", data)
    if not _LEAST_PARTS < number <= _MOST_PARTS or 8 * (number + 1) > len(data):
        raise MalformedMessage
    offsets = struct.unpack_from(f"<{number}Q", data, 8)
    if offsets[0] != 8 * (number + 1) or offsets[-1] != len(data):
        raise MalformedMessage
    if any(start > end for start, end in itertools.pairwise(offsets)):
        raise MalformedMessage
    name, *parts = (data[start:end] for start, end in itertools.pairwise(offsets))
    channel = bytes(name[:8]).decode("ascii", "replace")
    if channel not in CHANNELS:
        raise MalformedMessage
    return channel, parts
