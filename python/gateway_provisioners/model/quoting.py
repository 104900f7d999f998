"""Values of clients in messages."""

from __future__ import annotations

_MOST = 80


def quoted(value: str) -> str:
    """Return a client's value as messages quote it: on one line, and truncated."""
    return repr(value if len(value) <= _MOST else f"{value[:_MOST]}...")
