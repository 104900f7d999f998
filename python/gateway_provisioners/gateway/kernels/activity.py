"""A kernel's activity and execution state, from what it publishes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.messages import message_parts
from gateway_provisioners.gateway.websocket.requests import Requests
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_log = logging.getLogger(__name__)

STATES = frozenset({"starting", "idle", "busy"})
_LONGEST_STATUS = 4096
# The beginning of the topics of ipykernel's status messages. Its output has others, such as `stream.stdout`.
_STATUS_TOPICS = b"kernel."
# What a cell publishes before its status alone is followed.
_MUCH_BYTES = 2**20


class _Kernel(Protocol):
    kernel_id: str
    execution_state: str
    last_activity: Any
    running: Requests


class Subscriber(Protocol):
    """Chooses what arrives of what a kernel publishes, by topic: a SUB socket."""

    def subscribe(self, topic: bytes) -> None: ...

    def unsubscribe(self, topic: bytes) -> None: ...


class ActivityWatch:
    """Follows the messages that a kernel publishes; what they say may be anything.

    Args:
        kernel: its state, its last activity and the requests that it executes are kept up to date.
        is_tracked: returns whether messages of a type count as activity.
        now: the clock.
        subscriber: where the messages come from. While a cell publishes much, only the kernel's status is
            subscribed to: a busy kernel is active whatever it prints, and its clients get the output on
            connections of their own. None: everything is followed, always.

    Attributes:
        followed: set as soon as a message has arrived, so that the next ones will.
    """

    def __init__(
        self,
        kernel: _Kernel,
        is_tracked: Callable[[str | None], bool],
        now: Callable[[], Any],
        subscriber: Subscriber | None = None,
    ) -> None:
        self.followed = asyncio.Event()
        self._kernel = kernel
        self._subscriber = subscriber
        self._published = 0  # by this cell, in bytes
        self._follows_output = True
        self._is_tracked = is_tracked
        self._now = now
        self._complained = False

    def follow(self, frames: Sequence[bytes]) -> None:
        """Update the kernel from a published message; malformed ones are ignored, and the first is logged."""
        self.followed.set()
        try:
            kind = self._follow(message_parts(frames))
            self._choose_topics(kind, frames)
        except ProtocolError as error:
            if not self._complained:
                self._complained = True
                _log.warning("Kernel %s published nonsense: %s", self._kernel.kernel_id, error)

    def _follow(self, parts: Sequence[Part]) -> str:
        """Update the kernel; return the message's type."""
        header, request = (parsed_header(part) for part in parts[:2])
        kind, parent = _type(header), _type(request)
        if kind is None:
            raise ProtocolError("a message without a type")
        kernel = self._kernel
        if self._is_tracked(kind) or self._is_tracked(parent) or kernel.execution_state == "busy":
            kernel.last_activity = self._now()
        if kind != "status":
            return kind
        content = parts[3]
        state = (
            parsed_header(content).get("execution_state")
            if len(content) <= _LONGEST_STATUS
            else None
        )
        if not isinstance(state, str) or state not in STATES:
            raise ProtocolError("a status that is not one of Jupyter's")
        if self._is_tracked(parent):
            kernel.execution_state = state
            if state == "busy":
                kernel.running.add(request)
            else:
                kernel.running.remove(request.get("msg_id"))
        elif kernel.execution_state == "starting" and state != "starting":
            # The answer to a request that counts for nothing shows that the kernel has started.
            kernel.execution_state = "idle"
        return kind

    def _choose_topics(self, kind: str, frames: Sequence[bytes]) -> None:
        if self._subscriber is None:
            return
        if self._kernel.execution_state != "busy":
            self._published = 0
            if not self._follows_output:
                self._follows_output = True
                self._subscriber.subscribe(b"")
                self._subscriber.unsubscribe(_STATUS_TOPICS)
        elif self._published or (kind == "status" and frames[0].startswith(_STATUS_TOPICS)):
            # Only if the kernel's status has a topic to subscribe to.
            self._published += sum(map(len, frames))
            if self._follows_output and self._published > _MUCH_BYTES:
                self._follows_output = False
                self._subscriber.subscribe(_STATUS_TOPICS)
                self._subscriber.unsubscribe(b"")


def _type(header: Any) -> str | None:
    kind = header.get("msg_type")
    return kind if isinstance(kind, str) else None
