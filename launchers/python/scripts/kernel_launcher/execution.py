"""The kernel's execution state, from the status messages on its iopub channel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITER = b"<IDS|MSG>"
# Requests that are answered at once, while the kernel executes others.
MOMENTARY = frozenset(
    {
        "kernel_info_request",
        "interrupt_request",
        "shutdown_request",
        "debug_request",
        "usage_request",
        "create_subshell_request",
        "delete_subshell_request",
        "list_subshell_request",
    }
)


class ExecutionState:
    """Follows the kernel's status messages; other threads may read `value` at any time."""

    def __init__(self) -> None:
        # A shell executes one request at a time. Only the busy shells are stored, not the requests: one
        # that an interrupt has cut off would stay forever.
        self._working: set[str] = set()

    @property
    def value(self) -> str:
        """The state in Jupyter's terms: busy or idle."""
        return "busy" if self._working else "idle"

    def follow(self, frames: Sequence[bytes]) -> None:
        """Update the state from a message of the iopub channel."""
        try:
            _, header, parent, _, content = _parts(frames)
            if b'"status"' not in header or json.loads(header)["msg_type"] != "status":
                return
            request = json.loads(parent)
            shell = str(request.get("subshell_id"))
            if str(request.get("msg_type")) in MOMENTARY:
                return
            state = json.loads(content)["execution_state"]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return  # malformed messages are passed on to the clients
        if state == "busy":
            self._working.add(shell)
        elif state == "idle":
            self._working.discard(shell)


def _parts(frames: Sequence[bytes]) -> Sequence[bytes]:
    start = frames.index(DELIMITER) + 1
    return frames[start : start + 5]
