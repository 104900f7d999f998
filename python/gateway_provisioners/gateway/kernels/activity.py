"""A kernel's activity and execution state, from what it publishes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.messages import message_parts
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_log = logging.getLogger(__name__)

STATES = frozenset({"starting", "idle", "busy"})
_LONGEST_STATUS = 4096


class _Kernel(Protocol):
    kernel_id: str
    execution_state: str
    last_activity: Any


class ActivityWatch:
    """Follows the messages that a kernel publishes; what they say may be anything.

    Args:
        kernel: its state and last activity are kept up to date.
        is_tracked: returns whether messages of a type count as activity.
        now: the clock.
    """

    def __init__(
        self,
        kernel: _Kernel,
        is_tracked: Callable[[str | None], bool],
        now: Callable[[], Any],
    ) -> None:
        self._kernel = kernel
        self._is_tracked = is_tracked
        self._now = now
        self._complained = False

    def follow(self, frames: Sequence[bytes]) -> None:
        """Update the kernel from a published message; malformed ones are ignored, and the first is logged."""
        try:
            self._follow(message_parts(frames))
        except ProtocolError as error:
            if not self._complained:
                self._complained = True
                _log.warning("Kernel %s published nonsense: %s", self._kernel.kernel_id, error)

    def _follow(self, parts: Sequence[Part]) -> None:
        kind, parent = (_type(parsed_header(part)) for part in parts[:2])
        if kind is None:
            raise ProtocolError("a message without a type")
        kernel = self._kernel
        if self._is_tracked(kind) or self._is_tracked(parent) or kernel.execution_state == "busy":
            kernel.last_activity = self._now()
        if kind != "status":
            return
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
        elif kernel.execution_state == "starting" and state != "starting":
            # The answer to a request that counts for nothing shows that the kernel has started.
            kernel.execution_state = "idle"


def _type(header: Any) -> str | None:
    kind = header.get("msg_type")
    return kind if isinstance(kind, str) else None
