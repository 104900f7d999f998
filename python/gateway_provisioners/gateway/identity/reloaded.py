"""Values that are read from files, and read again after the files change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gateway_provisioners.errors import ConfigurationError

T = TypeVar("T")

_log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
# Requests do not wait longer for a file system that hangs: they go on with the previous value.
_TIMEOUT_SECONDS = 2.0
_ATTEMPTS = 3


class Reloaded(Generic[T]):
    """A value that is read from files when it is made, and again after they change.

    Args:
        stamp: returns what differs after each change of the files; called at most once a second, in a thread.
        read: reads the files, in a thread. After its ConfigurationError, the previous value stays.
        clock: returns seconds, which never go back.

    Raises:
        ConfigurationError: the files cannot be read for the first time.
    """

    def __init__(
        self,
        stamp: Callable[[], object],
        read: Callable[[], T],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stamp = stamp
        self._read = read
        self._clock = clock
        self._seen = stamp()
        self.value = read()
        self._due = clock() + INTERVAL_SECONDS
        self._task: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Bring the value up to date, if the last look at the files was a second ago."""
        if self._task is None:
            if self._clock() < self._due:
                return
            self._task = asyncio.create_task(self._refresh(), name="read changed files")
        task = self._task
        await asyncio.wait({task}, timeout=_TIMEOUT_SECONDS)
        if task.done():
            task.result()

    async def _refresh(self) -> None:
        try:
            self._seen, self.value = await asyncio.to_thread(self._current)
        finally:
            self._due = self._clock() + INTERVAL_SECONDS
            self._task = None

    def _current(self) -> tuple[object, T]:
        seen, value = self._seen, self.value
        for _ in range(_ATTEMPTS):  # they may change while they are read
            stamp = self._stamp()
            if stamp == seen:
                break
            seen = stamp
            try:
                value = self._read()
            except ConfigurationError as error:
                _log.error("%s The previous content stays in use.", error)
        return seen, value


def file_stamp(path: Path) -> object:
    """Return what differs after each change of a file, also of a symbolic link on the way to it."""
    try:
        state = path.stat()
    except OSError as error:
        return error.errno
    return state.st_ino, state.st_mtime_ns, state.st_size


def folder_stamp(folder: Path, most: int) -> object:
    """Return what differs after each change of a folder's files, of which it looks at the first `most`."""
    try:
        # Kubernetes keeps the files of a mounted Secret behind this link, and replaces it at each change.
        return (folder / "..data").readlink()
    except OSError:
        return tuple((path.name, file_stamp(path)) for path in files_of(folder, most))


def files_of(folder: Path, most: int) -> list[Path]:
    """Return the first `most` entries of a folder by name, without hidden ones; none if it cannot be read."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(paths)[:most]
