"""The text frames of a client that confirms what it receives: parsed and bounded; no state here."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway_provisioners.errors import ProtocolError

# The most requests that are named and have not come yet.
MOST_NAMED = 1000
_LONGEST_ID = 256
_LONGEST_ATTEMPT = 128
# Each character has up to 12 bytes in JSON. There may be fields that this release does not know.
_LONGEST_FRAME = 64 * 1024 + MOST_NAMED * (12 * _LONGEST_ID + 4)
# Numbers that JavaScript knows exactly.
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_ID)]


class Resend(msgspec.Struct):
    """The requests that come again.

    Attributes:
        attempt: the launch of the kernel that they were sent to before.
        ids: theirs.
    """

    attempt: Annotated[str, msgspec.Meta(max_length=_LONGEST_ATTEMPT)]
    ids: Annotated[list[_Id], msgspec.Meta(max_length=MOST_NAMED)]


class ClientFrame(msgspec.Struct):
    """A text frame of a client.

    Attributes:
        received: the number of kernel messages that the client has received since the websocket was opened.
        resend: the requests that it is about to send again.
    """

    received: _Count | msgspec.UnsetType = msgspec.UNSET
    resend: Resend | msgspec.UnsetType = msgspec.UNSET


_frames = msgspec.json.Decoder(ClientFrame)


def parse_frame(frame: bytes) -> ClientFrame:
    """Read a text frame.

    Raises:
        ProtocolError: it is malformed.
    """
    if len(frame) > _LONGEST_FRAME:
        raise ProtocolError("a text frame is too long")
    try:
        return _frames.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError("a text frame is not one of the feature `confirm`") from None
