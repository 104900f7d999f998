"""Messages of the kernel that clients have not acknowledged yet, up to a limit; no sockets here.

Published messages are in one log for all clients, so that a further client takes no memory; replies are
kept for each client. A client has a position in both: what it was sent, and what it has acknowledged.
Nothing has to notice that a client is away: what it has not acknowledged is sent again when it is back.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Send = Callable[[bytes, Sequence[bytes]], bool]

# Offered to the gateway (protocol/SPEC.md): this mailbox, and the command `state`.
FEATURES = ("mailbox", "state")
# What may be on its way to one client without an acknowledgement.
WINDOW_MESSAGES = 256
WINDOW_BYTES = 32 * 2**20
# Beyond this number, a new client replaces the one that has been away longest.
MOST_CLIENTS = 32


class _Message(NamedTuple):
    number: int
    frames: list[bytes]
    size: int


@dataclass(eq=False)
class _Client:
    session: bytes
    route: bytes
    acknowledged: int  # the number of a message, as is `sent`
    sent: int
    published: int = 0  # how many of all published messages it was sent, or does not need
    connected: bool = True
    replies: deque[_Message] = field(default_factory=deque)
    replies_sent: int = 0
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)  # number and size
    bytes_in_flight: int = 0
    dropped: int = 0
    # Dropped after they were sent and before they were acknowledged: lost only if they do not arrive.
    unsure: deque[int] = field(default_factory=deque)

    def has_room(self) -> bool:
        return len(self.in_flight) < WINDOW_MESSAGES and self.bytes_in_flight < WINDOW_BYTES

    def lose(self, message: _Message) -> None:
        """Count a message that is no longer kept."""
        if message.number > self.sent:
            self.dropped += 1
        elif message.number > self.acknowledged:
            self.unsure.append(message.number)


class Mailbox:
    """The messages to all clients, and each client's position.

    Args:
        most_bytes: how much is kept; the oldest messages are dropped first, and counted.
        send: sends frames to a route; returns whether it is connected.
    """

    def __init__(self, most_bytes: int, send: Send) -> None:
        self._most_bytes = most_bytes
        self._send = send
        self._bytes = 0
        self._last = 0
        self._published: deque[_Message] = deque()
        self._past = 0  # how many were published before the first of these
        # By session; the one that attached last is at the end.
        self._clients: dict[bytes, _Client] = {}
        self._routes: dict[bytes, _Client] = {}

    @property
    def on_its_way(self) -> bool:
        """True while a connected client has unacknowledged messages."""
        return any(client.connected and client.in_flight for client in self._clients.values())

    def attach(self, session: bytes, route: bytes, execution_state: str) -> None:
        """Send what `session` has missed, and all later messages, to `route`.

        A new session has missed nothing. A route that attaches again has a new connection: what was on
        its way is lost.
        """
        client = self._clients.pop(session, None)
        if client is None:
            self._make_room()
            client = _Client(session, route, self._last, self._last)
        elif client.route != route:
            self._routes.pop(client.route, None)
            self._send(client.route, [b"taken"])
        self._clients[session] = client
        self._routes[route] = client
        client.route = route
        self._rewind(client)
        welcome = {
            "execution_state": execution_state,
            "dropped": client.dropped,
            "last": self._last,
            "features": FEATURES,
        }
        if self._send(route, [b"welcome", json.dumps(welcome).encode()]):
            client.dropped = 0
        self._continue(client)

    def detach(self, route: bytes) -> None:
        """Forget the client at `route`, which will not come back."""
        if client := self._routes.get(route):
            self._forget(client)

    def acknowledge(self, route: bytes, number: int) -> None:
        """Drop the messages up to `number`, which have arrived."""
        client = self._routes.get(route)
        if client is None:
            return
        while client.in_flight and client.in_flight[0][0] <= number:
            client.bytes_in_flight -= client.in_flight.popleft()[1]
        while client.unsure and client.unsure[0] <= number:
            client.unsure.popleft()
        client.acknowledged = max(client.acknowledged, min(number, client.sent))
        while client.replies and client.replies[0].number <= client.acknowledged:
            self._pop_reply(client)
        self._continue(client)
        self._trim()

    def session_of(self, route: bytes) -> bytes | None:
        """Return the session that is attached at `route`."""
        client = self._routes.get(route)
        return client.session if client else None

    def post(self, channel: bytes, frames: Sequence[bytes], to: bytes | None = None) -> None:
        """Send a message of the kernel to a session, or to all, and keep it for clients that are away."""
        receiver = None if to is None else self._clients.get(to)
        if not self._clients or (to is not None and receiver is None):
            return
        self._last += 1
        size = sum(map(len, frames))
        message = _Message(self._last, [channel, b"%d" % self._last, *frames], size)
        self._bytes += size
        if receiver:
            receiver.replies.append(message)
            self._continue(receiver)
        else:
            self._published.append(message)
            for client in self._clients.values():
                self._continue(client)
        while self._bytes > self._most_bytes:
            self._drop_oldest()

    def _continue(self, client: _Client) -> None:
        """Send the next messages, as far as the window allows."""
        while client.connected and client.has_room():
            position = max(client.published - self._past, 0)
            published = self._published[position] if position < len(self._published) else None
            reply = (
                client.replies[client.replies_sent]
                if client.replies_sent < len(client.replies)
                else None
            )
            message = min(filter(None, (published, reply)), default=None)
            if message is None:
                return
            client.connected = self._report_dropped(client) and self._send(
                client.route, message.frames
            )
            if not client.connected:
                return
            if message is reply:
                client.replies_sent += 1
            else:
                client.published = self._past + position + 1
            client.sent = message.number
            client.in_flight.append((message.number, message.size))
            client.bytes_in_flight += message.size

    def _rewind(self, client: _Client) -> None:
        """Go back to the last acknowledgement: the rest did not arrive."""
        client.dropped += len(client.unsure)
        client.unsure.clear()
        client.in_flight.clear()
        client.bytes_in_flight = 0
        client.sent = client.acknowledged
        client.replies_sent = 0
        client.published = self._past + sum(
            message.number <= client.acknowledged for message in self._published
        )
        client.connected = True

    def _report_dropped(self, client: _Client) -> bool:
        if client.dropped:
            if not self._send(client.route, [b"dropped", b"%d" % client.dropped]):
                return False
            client.dropped = 0
        return True

    def _drop_oldest(self) -> None:
        """Drop published messages before any reply: without its reply a client would wait forever."""
        if self._published:
            message = self._pop_published()
            for client in self._clients.values():
                client.lose(message)
        else:
            client = min(
                (c for c in self._clients.values() if c.replies), key=lambda c: c.replies[0]
            )
            client.lose(self._pop_reply(client))

    def _trim(self) -> None:
        """Drop the messages that all clients have acknowledged."""
        settled = min((c.acknowledged for c in self._clients.values()), default=self._last)
        while self._published and self._published[0].number <= settled:
            self._pop_published()

    def _pop_published(self) -> _Message:
        message = self._published.popleft()
        self._past += 1
        self._bytes -= message.size
        return message

    def _pop_reply(self, client: _Client) -> _Message:
        message = client.replies.popleft()
        client.replies_sent = max(client.replies_sent - 1, 0)
        self._bytes -= message.size
        return message

    def _make_room(self) -> None:
        if len(self._clients) < MOST_CLIENTS:
            return
        for client in self._clients.values():
            if not client.connected or not self._send(client.route, [b"ping"]):
                self._forget(client)
                return

    def _forget(self, client: _Client) -> None:
        self._routes.pop(client.route, None)
        del self._clients[client.session]
        while client.replies:
            self._pop_reply(client)
        self._trim()
