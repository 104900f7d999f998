"""Messages on disk: in files that have no name, so that nothing is left when the launcher ends."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The space of a file is free again when all messages in it are.
SEGMENTS = 32
SMALLEST_SEGMENT = 2**20


@dataclass
class _Segment:
    file: int
    size: int = 0
    messages: int = 0


@dataclass(frozen=True)
class Stored:
    """A message on disk."""

    segment: _Segment
    offset: int
    sizes: tuple[int, ...]


class Spool:
    """Stores messages, and frees their space in about the same order.

    Args:
        most_bytes: the limit; 0: stores nothing.
        directory: where the files are; None for the one for temporary files.
    """

    def __init__(self, most_bytes: int, directory: str | None = None) -> None:
        self._most_bytes = most_bytes
        self._directory = directory
        self._segment_bytes = max(most_bytes // SEGMENTS, SMALLEST_SEGMENT)
        self._segment: _Segment | None = None
        self._bytes = 0

    def put(self, frames: Sequence[bytes]) -> Stored | None:
        """Store a message; None if there is no room for it."""
        sizes = tuple(map(len, frames))
        size = sum(sizes)
        if self._bytes + size > self._most_bytes:
            return None
        try:
            segment = self._with_room(size)
            offset = segment.size
            _write(segment.file, b"".join(frames), offset)
        except OSError as error:
            self._give_up(error)
            return None
        segment.size += size
        segment.messages += 1
        self._bytes += size
        return Stored(segment, offset, sizes)

    def get(self, stored: Stored) -> list[bytes]:
        """Read a message; it stays stored."""
        data = os.pread(stored.segment.file, sum(stored.sizes), stored.offset)
        frames, start = [], 0
        for size in stored.sizes:
            frames.append(data[start : start + size])
            start += size
        return frames

    def free(self, stored: Stored) -> None:
        """Forget a message."""
        segment = stored.segment
        segment.messages -= 1
        if segment.messages:
            return
        self._bytes -= segment.size
        if segment is self._segment:
            os.ftruncate(segment.file, 0)
            segment.size = 0
        else:
            os.close(segment.file)

    def _with_room(self, size: int) -> _Segment:
        segment = self._segment
        if segment is None or (segment.size and segment.size + size > self._segment_bytes):
            import tempfile

            with tempfile.TemporaryFile(dir=self._directory) as file:
                self._segment = _Segment(os.dup(file.fileno()))
            if segment is not None and not segment.messages:
                os.close(segment.file)
        assert self._segment is not None  # noqa: S101
        return self._segment

    def _give_up(self, error: OSError) -> None:
        """Go on in memory only, as on a disk that is full or cannot be written."""
        sys.stderr.write(f"launch_ipykernel: output is kept in memory only: {error}\n")
        self._most_bytes = 0


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
