"""The frames of a 0MQ connection, counted by their headers (ZMTP 3.1, RFC 37)."""

from __future__ import annotations

from gateway_provisioners.errors import ProtocolError

_GREETING_BYTES = 64
# Bytes of the greeting: the first, and a bit of another, are those of all versions since 2, which say theirs
# in a third. 0MQ itself reads anything else as version 1.
_SIGNATURE, _VERSION_AT, _OLDEST_VERSION = 0xFF, 10, 3
_SIGNATURE_ENDS_AT = 9
_LONG = 2
_SHORT_HEADER, _LONG_HEADER = 2, 9


class FrameCounter:
    """Counts the frames in one direction of a connection.

    CurveZMQ encrypts what is in the frames, and not their headers. Those of 0MQ's own commands count: it
    passes subscriptions on like messages.
    """

    def __init__(self) -> None:
        self._skipped = _GREETING_BYTES  # of what comes next
        self._greeting = b""
        self._header = b""  # its beginning, if the rest has not come yet

    def count(self, data: memoryview | bytes) -> int:
        """Return how many frames begin in the next bytes.

        Raises:
            ProtocolError: the peer's version of the protocol is older, and has other frames.
        """
        if len(self._greeting) <= _VERSION_AT:
            self._greeting += bytes(data[: _VERSION_AT + 1 - len(self._greeting)])
            signature, ends = self._greeting[:1], self._greeting[_SIGNATURE_ENDS_AT:_VERSION_AT]
            versions = self._greeting[_VERSION_AT:]
            if (
                signature != bytes([_SIGNATURE])
                or (ends and not ends[0] & 1)
                or (versions and versions[0] < _OLDEST_VERSION)
            ):
                raise ProtocolError("it does not speak version 3 of 0MQ's protocol")
        if self._header:
            data = self._header + data
        position, end = self._skipped, len(data)
        self._header = b""
        frames = 0
        while position < end:
            flags = data[position]
            begin = position + (_LONG_HEADER if flags & _LONG else _SHORT_HEADER)
            if begin > end:
                self._header = bytes(data[position:])
                break
            frames += 1
            position = begin + int.from_bytes(data[position + 1 : begin], "big")
        self._skipped = max(position - end, 0)
        return frames
