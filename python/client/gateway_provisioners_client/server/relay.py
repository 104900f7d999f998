"""A client's session with a kernel, which outlives the websocket of its browser."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.session.connection import ConnectionState, Phase, RemoteKernel
from gateway_provisioners_client.session.words import short_header

# The most that is on its way to a browser; until it has read some, the kernel's output stays in its pod.
_MOST_MESSAGES = 2048
_MOST_BYTES = 4 * 1024 * 1024

# A ping asks the browser to say that it has read all before it.
_PING_SECONDS = 0.2
_PING_BYTES = 256 * 1024
_PING_MESSAGES = 256

# A browser that lost its network is back within seconds, or much later.
LINGER_SECONDS = 30.0


class Client(Protocol):
    """The websocket of a browser."""

    def write(self, channel: str, parts: Sequence[bytes]) -> None:
        """Send a message of the kernel, without waiting."""

    def ping(self, number: int) -> None:
        """Ask for a pong with this number: it proves that all before it has arrived."""

    def close(self) -> None:
        """Close it: the client has come back on another."""


@dataclass(frozen=True)
class _Sent:
    number: int
    channel: str
    parts: list[bytes]
    size: int
    is_restart: bool


class Relay:
    """Carries messages between a kernel of the gateway and the browser whose session this is.

    Messages that the browser has not read for certain are kept, and given to its next websocket: it answers
    the pings of a websocket in the order of what it has received. So a message can come twice, if the network
    failed between it and the answer; without this it would be lost. Only a notice that the kernel restarts is
    given once: at each, JupyterLab shows a dialog and opens its websocket anew.
    """

    def __init__(self, key: tuple[str, str], ended: Callable[[Relay], None]) -> None:
        self.key = key
        self._ended = ended
        self._client: Client | None = None
        self._remote: RemoteKernel | None = None
        self._running: asyncio.Task[None] | None = None
        self._unread: deque[_Sent] = deque()
        self.unread_bytes = 0
        self._number = 0
        self._pinged = 0
        self._pinged_bytes = 0
        self._room = asyncio.Event()
        self._ping_timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None
        self._is_gone = False

    @property
    def is_idle(self) -> bool:
        """True if neither the browser nor the gateway is connected."""
        return self._client is None and self._remote is None

    def attach(self, api: GatewayApi, client: Client) -> None:
        """Serve the session's client on this websocket, first with what it has not read on the last."""
        previous, self._client = self._client, client
        if previous is not None:
            previous.close()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        for each in self._unread:
            client.write(each.channel, each.parts)
        self._forget_restarts()
        self._pinged = self._unread[0].number - 1 if self._unread else self._number
        self._ping_soon()
        if self._remote is None or self._is_gone:
            self._is_gone = False
            self._remote = RemoteKernel(
                api, *self.key, deliver=self._deliver, state=self._note, room=self._has_room
            )
            self._running = asyncio.create_task(self._run(self._remote))

    def detach(self, client: Client) -> None:
        """Note that a websocket has ended; the connection to the gateway lingers for the next one."""
        if self._client is not client:
            return
        self._client = None
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None
        loop = asyncio.get_running_loop()
        seconds = 0 if self._is_gone else LINGER_SECONDS
        self._linger = loop.call_later(seconds, self._let_go)

    async def send(self, channel: str, parts: Sequence[bytes]) -> None:
        """Send a message to the kernel; wait while too many are on their way."""
        if self._remote is not None:
            await self._remote.send(channel, parts)

    def has_read(self, number: int) -> None:
        """Note the client's answer to a ping."""
        while self._unread and self._unread[0].number <= number:
            self.unread_bytes -= self._unread.popleft().size
        if not self._is_full:
            self._room.set()

    async def close(self) -> None:
        """End the connection to the gateway."""
        if self._linger is not None:
            self._linger.cancel()
        if self._remote is not None:
            await self._remote.close()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=2)
            self._running.cancel()

    async def _run(self, remote: RemoteKernel) -> None:
        try:
            await remote.run()
        finally:
            # After the kernel has gone it answers requests with words.
            if not self._is_gone:
                self._remote = None
                if self._client is not None:
                    self._client.close()
                self._ended(self)

    def _let_go(self) -> None:
        self._linger = None
        if self._is_gone:
            self._remote = None
            self._unread.clear()
            self.unread_bytes = 0
            self._ended(self)
        elif self._remote is not None:
            self._closing = asyncio.ensure_future(self._remote.close())

    @property
    def _is_full(self) -> bool:
        return len(self._unread) >= _MOST_MESSAGES or self.unread_bytes >= _MOST_BYTES

    async def _has_room(self) -> None:
        while self._is_full:
            self._room.clear()
            await self._room.wait()

    def _deliver(self, channel: str, parts: list[bytes]) -> None:
        self._number += 1
        sent = _Sent(
            self._number, channel, parts, sum(map(len, parts)), _is_restart(channel, parts)
        )
        self._unread.append(sent)
        self.unread_bytes += sent.size
        if self._client is not None:
            self._client.write(channel, parts)
            if sent.is_restart:
                self._forget_restarts()
            self._pinged_bytes += sent.size
            self._ping_soon()

    def _forget_restarts(self) -> None:
        restarts = [each for each in self._unread if each.is_restart]
        for each in restarts:
            self._unread.remove(each)
            self.unread_bytes -= each.size

    def _note(self, state: ConnectionState) -> None:
        self._is_gone = state.phase is Phase.GONE

    def _ping_soon(self) -> None:
        if self._number == self._pinged:
            return
        if self._pinged_bytes >= _PING_BYTES or self._number - self._pinged >= _PING_MESSAGES:
            self._ping()
        elif self._ping_timer is None:
            self._ping_timer = asyncio.get_running_loop().call_later(_PING_SECONDS, self._ping)

    def _ping(self) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None
        if self._client is not None:
            self._pinged, self._pinged_bytes = self._number, 0
            self._client.ping(self._number)


def _is_restart(channel: str, parts: Sequence[bytes]) -> bool:
    """Return whether a message is the notice that the kernel has died and restarts."""
    return (
        channel == "iopub"
        and any(b'"restarting"' in content[:256] for content in parts[3:4])
        and short_header(parts[0]).get("msg_type") == "status"
    )
