"""The moment at which a client's connection can be closed without a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway_provisioners.aio import within
from gateway_provisioners.gateway.websocket.requests import ClientRequests

# After this silence, waiting longer does not make it less likely that the client sends something.
_QUIET_SECONDS = 1.0


class ClientActivity:
    """Notes when a client sends something, and when its kernel replies.

    Args:
        kernel: has an execution state.
        requests: the client's.
    """

    def __init__(self, kernel: Any, requests: ClientRequests) -> None:
        self._kernel = kernel
        self._requests = requests
        self._noted = asyncio.Event()

    def note(self, _change: object = None) -> None:
        """Note that something has happened that may end the wait."""
        self._noted.set()

    async def wait_quiet(
        self, is_open: Callable[[], bool], has_mailbox: Callable[[], bool]
    ) -> None:
        """Wait until the client awaits a reply that the mailbox keeps, or has sent nothing for a while.

        Args:
            is_open: returns whether the client is still connected.
            has_mailbox: returns whether a mailbox keeps what the client misses.
        """
        self._kernel.observe(self.note, "execution_state")
        try:
            while is_open():
                if has_mailbox() and self._requests.awaited:
                    return
                self._noted.clear()
                # Without a mailbox, the rest of a busy kernel's output would be lost.
                busy = not has_mailbox() and self._kernel.execution_state == "busy"
                try:
                    await within(None if busy else _QUIET_SECONDS, self._noted.wait())
                except asyncio.TimeoutError:
                    return
        finally:
            self._kernel.unobserve(self.note, "execution_state")
