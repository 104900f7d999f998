"""The process's log: one line for each record, of bounded length and number."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

# Longer messages are cut: names and logs of kernels are as long as their users like.
MOST_CHARACTERS = 1000
# The same for the lines of a traceback: its last ones are the exception's message.
MOST_LINES = 100
# What one place in the code logs in a while; more is counted.
MOST_RECORDS = 200
WINDOW_SECONDS = 10.0
# Beyond this, rarer places in the code share a count.
_MOST_PLACES = 1000


def in_one_line(text: str) -> str:
    """Return a text with its control characters escaped, and cut if it is too long."""
    line = text[:MOST_CHARACTERS]
    if not line.isprintable():
        line = "".join(each if each.isprintable() else _escaped(each) for each in line)
    if max(len(line), len(text)) > MOST_CHARACTERS:  # escaped characters are longer
        line = f"{line[:MOST_CHARACTERS]}... (of {len(text)} characters)"
    return line


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class OneLineRecord(logging.LogRecord):
    """A record whose message is one line, whatever clients and kernels put into it."""

    def getMessage(self) -> str:  # noqa: N802 - as in logging
        return in_one_line(super().getMessage())


class IndentedTracebacks(logging.Filter):
    """Indents and bounds tracebacks, so that no line of one looks like a record of its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Prepare the text that formatters use."""
        if record.exc_info and not record.exc_text:
            lines = logging.Formatter().formatException(record.exc_info).splitlines()
            if len(lines) > MOST_LINES:
                half = MOST_LINES // 2
                lines[half:-half] = [f"... ({len(lines) - 2 * half} more lines)"]
            record.exc_text = "\n".join(f"  {in_one_line(line)}" for line in lines)
        return True


class FloodFilter(logging.Filter):
    """Drops records of a place in the code that logs too many of a level, and says how many.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._began = now()
        self._counts: dict[tuple[str, int, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        now = self._now()
        if now >= self._began + WINDOW_SECONDS:
            self._begin(now, record)
        place = (record.pathname, record.lineno, record.levelno)
        if place not in self._counts and len(self._counts) >= _MOST_PLACES:
            place = ("", 0, 0)
        self._counts[place] = count = self._counts.get(place, 0) + 1
        return count <= MOST_RECORDS

    def _begin(self, now: float, record: logging.LogRecord) -> None:
        """Begin a new window, and report the old one with its first record."""
        dropped = sum(max(count - MOST_RECORDS, 0) for count in self._counts.values())
        self._began = now
        self._counts = {}
        if dropped:
            record.msg = f"({dropped} more log records like those before) {record.getMessage()}"
            record.args = ()


def set_up(*loggers: logging.Logger) -> None:
    """Make all records of the process one line each, and bound those of these loggers' handlers."""
    logging.setLogRecordFactory(_record)
    for logger in loggers:
        for handler in logger.handlers:
            handler.addFilter(FloodFilter())
            handler.addFilter(IndentedTracebacks())


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    return OneLineRecord(*args, **kwargs)
