"""Requests that a kernel has not answered yet, by their headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.messages import message_parts
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

# Of a header: clients look at no other fields, and as many large ones would take much memory.
_FIELDS = ("msg_id", "msg_type", "username", "session", "date", "version")
_LONGEST_FIELD = 256
# The most unanswered requests of a client that are remembered.
_MOST_AWAITED = 256


def short_header(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the part of a header that clients need in order to find its cell."""
    return {name: header[name] for name in _FIELDS if _is_short(header.get(name))}


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_FIELD


class Requests:
    """Headers of requests, in the order in which they were added.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._headers: dict[str, Mapping[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._headers)

    def __contains__(self, request: str) -> bool:
        return request in self._headers

    @property
    def first(self) -> Mapping[str, str]:
        """The header of the oldest request; empty without one."""
        return next(iter(self._headers.values()), {})

    @property
    def cell(self) -> Mapping[str, str]:
        """The header of the newest request to execute code, else of the newest request; may be empty."""
        newest_first = list(reversed(self._headers.values()))
        cells = (each for each in newest_first if each.get("msg_type") == "execute_request")
        return next(cells, newest_first[0] if newest_first else {})

    def add(self, header: Mapping[str, Any]) -> None:
        """Add a request, unless there are as many as are kept; other messages are not answered."""
        short = short_header(header)
        request = short.get("msg_id")
        is_request = short.get("msg_type", "").endswith("_request")
        if request and is_request and len(self._headers) < self._most:
            self._headers[request] = short

    def remove(self, request: object) -> None:
        """Remove the request with this id, if it is there."""
        if isinstance(request, str):
            self._headers.pop(request, None)

    def answered(self, reply: Sequence[Part]) -> None:
        """Remove the request that a message of the kernel answers."""
        with suppress(ProtocolError):
            self.remove(parsed_header(message_parts(reply)[1]).get("msg_id"))

    def take_all(self) -> Sequence[Mapping[str, str]]:
        """Remove every request; return them, the oldest first."""
        taken = list(self._headers.values())
        self._headers.clear()
        return taken

    def clear(self) -> None:
        """Remove every request."""
        self._headers.clear()


class ClientRequests:
    """The requests of one client.

    Attributes:
        last: the header of the client's newest message to the kernel; empty before the first.
        awaited: those that the kernel has not answered yet.
    """

    def __init__(self) -> None:
        self.last: Mapping[str, Any] = {}
        self.awaited = Requests(_MOST_AWAITED)
        self._held = Requests(_MOST_AWAITED)

    def add(self, channel: str, header: Mapping[str, Any], *, held: bool) -> None:
        """Add a message of the client.

        Args:
            held: whether it waits until the kernel has moved.
        """
        self.last = header
        if channel == "shell":
            (self._held if held else self.awaited).add(header)

    def expect_held(self) -> None:
        """Await replies to those that were held; the others were lost when the kernel moved."""
        self.awaited, self._held = self._held, Requests(_MOST_AWAITED)
