"""Messages of a client on their way to its kernel, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_client.session import Session

from gateway_provisioners.aio import within
from gateway_provisioners.gateway.process.limits import FREE_BYTES, Limits
from gateway_provisioners.gateway.websocket.serialization import Part

# A kernel that has taken nothing for so long does not work.
STUCK_SECONDS = 20.0


class KernelWriter:
    """Sends a client's messages, and holds them while the kernel moves.

    Args:
        session: signs the messages with the kernel's key.
        limits: bounds what waits for the kernel.
        in_transit: returns how many bytes were sent and have not left for the kernel.
        give_up: called when others need the memory of what waits.

    Attributes:
        closed: whether messages are taken no more.
    """

    def __init__(
        self,
        session: Session,
        limits: Limits,
        in_transit: Callable[[], int],
        give_up: Callable[[], object],
    ) -> None:
        self._session = session
        self._most = limits.client_buffer_bytes
        self._in_transit = in_transit
        self._give_up = give_up
        self._share = limits.buffers.share(self._press)
        self._held: list[tuple[str, list[Part]]] = []
        self._held_bytes = 0
        self._left = asyncio.Event()
        self.closed = False

    @property
    def waiting(self) -> int:
        """The number of bytes that wait for the kernel."""
        return self._held_bytes + self._in_transit()

    def send(self, stream: Any, parts: list[Part]) -> None:
        """Send a message to one of the kernel's channels."""
        # As it is. jupyter_server parses messages to kernels of other versions of the protocol and adapts
        # them, but only version 4, of before 2015, has other contents.
        self._session.send_raw(stream, parts)

    def hold(self, channel: str, parts: list[Part], size: int) -> None:
        """Keep a message until the kernel has moved.

        Args:
            size: that of the whole message, whose parts are views of it.
        """
        self._held.append((channel, parts))
        self._held_bytes += size

    @property
    def held(self) -> Sequence[tuple[str, list[Part]]]:
        """The channels and parts of the messages that are kept."""
        return self._held

    def send_held(
        self, channels: Mapping[str, Any], may_send: Callable[[str, list[Part]], bool]
    ) -> None:
        """Send what was kept, except for messages that may not be sent any longer."""
        held, self._held = self._held, []
        self._held_bytes = 0
        for channel, parts in held:
            if may_send(channel, parts):
                self.send(channels[channel], parts)
        self.has_left()

    def forget(self) -> None:
        """Drop what was kept."""
        self._held.clear()
        self._held_bytes = 0

    def has_left(self) -> None:
        """Note that bytes have left for the kernel."""
        self._left.set()
        self._share.progressed()
        self._release()

    async def wait_until_sent(self) -> bool:
        """Wait until the client may send more; return False if the kernel takes nothing."""
        while not self.closed and not self._may_send():
            before = self.waiting
            self._left.clear()
            try:
                await within(STUCK_SECONDS, self._left.wait())
            except asyncio.TimeoutError:
                if self.waiting >= before:
                    return False
        return True

    def close(self) -> None:
        """Forget everything."""
        self.closed = True
        self.forget()
        self._share.close()
        self._left.set()

    def _may_send(self) -> bool:
        """Return whether what waits is within the limits: little, unless the budget of all has room."""
        waiting = self.waiting
        if waiting <= FREE_BYTES:
            self._release()
            return True
        return waiting <= self._most and (self._share.held > 0 or self._share.try_take(self._most))

    def _release(self) -> None:
        if self._share.held and self.waiting <= FREE_BYTES:
            self._share.release(self._share.held)

    def _press(self) -> None:
        """Give back what is not needed, or else give up."""
        self._release()
        if self._share.held:
            self._give_up()
