"""Messages on disk: in files that have no name, so that nothing is left when the launcher ends."""

from __future__ import annotations

import os
import sys
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The space of a file is free again when all messages in it are.
SEGMENTS = 32
SMALLEST_SEGMENT = 2**20


@dataclass(eq=False)
class _Segment:
    file: int
    queue: bytes
    size: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A message on disk: the sizes of its frames, and the frames."""

    segment: _Segment
    offset: int
    size: int
    frames: int


class Spool:
    """Stores messages in queues.

    Messages of one queue are freed in about the order in which they were stored. So each queue has files of
    its own: a message that waits long keeps no space of the other queues.

    Args:
        most_bytes: the limit; 0: stores nothing.
        directory: where the files are; None for the one for temporary files.

    Attributes:
        most_bytes: the limit, which is lower when the disk was full.
    """

    def __init__(self, most_bytes: int, directory: str | None = None) -> None:
        self.most_bytes = most_bytes
        self._directory = directory
        self._segment_bytes = max(most_bytes // SEGMENTS, SMALLEST_SEGMENT)
        self._segments: dict[bytes, _Segment] = {}  # the newest of each queue
        self._bytes = 0
        self._has_failed = False

    def put(self, frames: Sequence[bytes], queue: bytes = b"") -> Stored | None:
        """Store a message; None if there is no room for it."""
        sizes = array("Q", map(len, frames))
        size = len(sizes) * sizes.itemsize + sum(sizes)
        if self._bytes + size > self.most_bytes:
            return None
        segment = None
        try:
            segment = self._with_room(size, queue)
            _write(segment.file, b"".join([sizes.tobytes(), *frames]), segment.size)
        except OSError as error:
            self._fail(error, segment)
            return None
        stored = Stored(segment, segment.size, size, len(frames))
        segment.size += size
        segment.messages += 1
        self._bytes += size
        return stored

    def get(self, stored: Stored) -> list[bytes]:
        """Read a message; it stays stored.

        Raises:
            OSError: the disk fails.
        """
        data = os.pread(stored.segment.file, stored.size, stored.offset)
        sizes = array("Q")
        start = stored.frames * sizes.itemsize
        sizes.frombytes(data[:start])
        frames = []
        for size in sizes:
            frames.append(data[start : start + size])
            start += size
        return frames

    def free(self, stored: Stored) -> None:
        """Forget a message."""
        segment = stored.segment
        segment.messages -= 1
        if not segment.messages:
            self._bytes -= segment.size
            self._close(segment)

    def _with_room(self, size: int, queue: bytes) -> _Segment:
        segment = self._segments.get(queue)
        if segment is None or segment.size + size > self._segment_bytes:
            import tempfile

            with tempfile.TemporaryFile(dir=self._directory) as file:
                segment = _Segment(os.dup(file.fileno()), queue)
            self._segments[queue] = segment
        return segment

    def _close(self, segment: _Segment) -> None:
        if self._segments.get(segment.queue) is segment:
            del self._segments[segment.queue]
        with suppress(OSError):
            os.close(segment.file)

    def _fail(self, error: OSError, segment: _Segment | None) -> None:
        """Keep no more than now: the disk is full, or cannot be written at all."""
        self.most_bytes = self._bytes
        if not self._has_failed:
            self._has_failed = True
            sys.stderr.write(f"launch_ipykernel: no more output is kept on disk: {error}\n")
        if segment is None:
            return
        if not segment.messages:
            self._close(segment)
            return
        with suppress(OSError):
            os.ftruncate(segment.file, segment.size)  # what was written of the message


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
