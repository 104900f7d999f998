"""Writes the lines of the audit log in a thread of its own: standard output and files may block."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Protocol

from gateway_provisioners.errors import ConfigurationError

_log = logging.getLogger(__name__)

STDOUT = "stdout"
NONE = "none"
# Of lines that wait to be written, some five thousand. More are dropped, and counted.
MOST_WAITING_BYTES = 2 * 2**20
# How long the last lines may take to be written when the gateway stops.
CLOSE_SECONDS = 2.0
# Of a new file: it names users and their addresses.
_FILE_MODE = 0o600
_STDOUT_FILENO = 1


class Destination(Protocol):
    """The place that lines are written to."""

    def descriptor(self) -> int:
        """Return an open file descriptor.

        Raises:
            OSError: it cannot be opened now.
        """
        ...

    def close(self) -> None: ...


class StandardOutput:
    """The standard output of the process; its log goes to standard error."""

    def descriptor(self) -> int:
        return _STDOUT_FILENO

    def close(self) -> None: ...


class AppendedFile:
    """A file that is appended to, and that may be moved away to begin a new one, as logrotate does.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = self._open()

    def descriptor(self) -> int:
        """Return the descriptor of the file that has the path now."""
        if not self._is_there():
            opened = self._open()
            os.close(self._descriptor)
            self._descriptor = opened
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        # A named pipe that is not read would otherwise keep the gateway from starting.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, _FILE_MODE)
        os.set_blocking(descriptor, True)
        return descriptor

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))  # noqa: PTH116
        except FileNotFoundError:
            return False


def open_destination(target: str) -> Destination | None:
    """Return the destination that GP_AUDIT names; None for `none`.

    Raises:
        ConfigurationError: it makes no sense, or cannot be opened.
    """
    if target == NONE:
        return None
    if target == STDOUT:
        return StandardOutput()
    if not target.startswith("/"):
        raise ConfigurationError(
            f"GP_AUDIT must be {STDOUT}, {NONE} or the absolute path of a file, not {target!r}."
        )
    try:
        return AppendedFile(target)
    except OSError as error:
        raise ConfigurationError(
            f"The file of GP_AUDIT cannot be written: {error.strerror}: {target}. Its folder must exist and "
            "be writable for the gateway."
        ) from None


class AuditOutput:
    """Writes lines in their order. What the destination does not take in time is dropped.

    Args:
        lost_line: returns the line that says how many lines were lost.
        on_lost: called with each number of lines that are lost, from any thread.
    """

    def __init__(
        self,
        destination: Destination,
        lost_line: Callable[[int], bytes],
        on_lost: Callable[[int], object],
    ) -> None:
        self._destination = destination
        self._lost_line = lost_line
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._is_closing = False
        # Those of the thread alone.
        self._is_failing = False
        self._is_torn = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Take a line, to be written soon; never blocks."""
        with self._changed:
            if self._waiting_bytes + len(line) <= MOST_WAITING_BYTES:
                self._lines.append(line)
                self._waiting_bytes += len(line)
                self._changed.notify()
                return
            self._lost += 1
        self._on_lost(1)

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_SECONDS`; blocks."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.warning(
                "The last lines of the audit log are lost: they could not be written in time."
            )

    def _run(self) -> None:
        is_closing = False
        while not is_closing:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._is_closing)
                is_closing = self._is_closing
                lines, self._lines, self._waiting_bytes = self._lines, [], 0
                lost, self._lost = self._lost, 0
            self._write(lines, lost)
        self._destination.close()

    def _write(self, lines: list[bytes], lost: int) -> None:
        written = 0
        try:
            descriptor = self._destination.descriptor()
            if lost:
                self._write_line(descriptor, self._lost_line(lost))
                lost = 0
            for line in lines:
                self._write_line(descriptor, line)
                written += 1
        except OSError as error:
            missing = len(lines) - written
            with self._changed:
                self._lost += lost + missing
            self._on_lost(missing)
            if not self._is_failing:
                self._is_failing = True
                _log.error("The audit log cannot be written: %s. Lines are lost.", error)
        else:
            self._is_failing = False

    def _write_line(self, descriptor: int, line: bytes) -> None:
        rest = b"\n" + line if self._is_torn else line
        while rest:
            count = os.write(descriptor, rest)
            rest = rest[count:]
            self._is_torn = bool(rest)
