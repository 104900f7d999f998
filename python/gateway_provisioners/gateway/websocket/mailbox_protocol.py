"""The messages of the mailbox port, built and parsed (launchers/protocol/SPEC.md); no sockets here.

A launcher is a client's own code: what it says is read as far as it makes sense.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.features import ACCEPTED, parse_features

_STATES = frozenset({"starting", "idle", "busy"})
_LONGEST_WELCOME = 64 * 1024
_LONGEST_NUMBER = 18
# A launcher confirms the requests of one turn at once, which are 64.
_MOST_ACCEPTED = 1000
_LONGEST_ID = 256
# Each character has up to 12 bytes in JSON.
_LONGEST_ACCEPTED = _MOST_ACCEPTED * (12 * _LONGEST_ID + 4)

Frame = bytes | memoryview
_Count = Annotated[int, msgspec.Meta(ge=0, lt=10**_LONGEST_NUMBER)]
_Ids = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=_LONGEST_ID)]],
    msgspec.Meta(max_length=_MOST_ACCEPTED),
]


class Welcome(NamedTuple):
    """The launcher's first message.

    Attributes:
        execution_state: the kernel's.
        dropped: the number of lost messages.
        features: those of the launcher.
        last: the number of the newest message that is older than this connection.
        remembers: whether a request that the session sent before, and sends again, would be dropped.
    """

    execution_state: str
    dropped: int
    features: tuple[str, ...]
    last: int = 0
    remembers: bool = False


class _WelcomeContent(msgspec.Struct):
    dropped: _Count
    last: _Count
    execution_state: Any
    features: Any = None
    remembers: Any = None


_welcome_content = msgspec.json.Decoder(_WelcomeContent)
_ids = msgspec.json.Decoder(_Ids)


def attach_frames(key: bytes, session: str, features: Collection[str]) -> list[bytes]:
    """Return the message that attaches a connection to a session."""
    content = json.dumps({"session": session, "features": list(features)}).encode()
    signature = hmac.new(key, b"attach" + content, "sha256").hexdigest().encode()
    return [b"attach", signature, content]


def parse_welcome(frames: Sequence[Frame]) -> Welcome:
    """Read a launcher's welcome.

    Raises:
        ProtocolError: it is malformed.
    """
    content = one_of(frames)
    if len(content) > _LONGEST_WELCOME:
        raise ProtocolError("its welcome is too long")
    try:
        welcome = _welcome_content.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError("its welcome is malformed") from None
    state = welcome.execution_state
    known = state if isinstance(state, str) and state in _STATES else "unknown"
    features = parse_features(welcome.features)
    remembers = welcome.remembers is True and ACCEPTED in features
    return Welcome(known, welcome.dropped, features, welcome.last, remembers)


def parse_accepted(frames: Sequence[Frame]) -> list[str]:
    """Read the ids of the requests that a launcher confirms.

    Raises:
        ProtocolError: they are malformed.
    """
    content = one_of(frames)
    if len(content) > _LONGEST_ACCEPTED:
        raise ProtocolError("it confirms too many requests at once")
    try:
        return _ids.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError("it confirms requests in a malformed message") from None


def one_of(frames: Sequence[Frame]) -> Frame:
    """Return the one frame after the kind.

    Raises:
        ProtocolError: there are others.
    """
    if len(frames) != 2:
        raise ProtocolError("a message has a wrong number of frames")
    return frames[1]


def parse_number(frame: Frame) -> int:
    """Return the number in a frame.

    Raises:
        ProtocolError: it is malformed.
    """
    text = bytes(frame[: _LONGEST_NUMBER + 1])
    if len(text) > _LONGEST_NUMBER or not text.isdigit():
        raise ProtocolError("a number is malformed")
    return int(text)
