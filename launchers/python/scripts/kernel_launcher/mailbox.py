"""Messages of the kernel that clients have not acknowledged yet, up to a limit; no sockets here.

Published messages are in one log for all clients, so that a further client takes no memory; replies are
kept for each client. A client has a position in both: what it was sent, and what it has acknowledged.
Nothing has to notice that a client is away: what it has not acknowledged is sent again when it is back.
What does not fit into memory is on disk. Where messages had to be dropped, each cell gets a message
about that.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_launcher.accepted import ACCEPTED, AcceptedRequests
from kernel_launcher.messages import cost_of, parent_of, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kernel_launcher.spool import Spool, Stored

    Send = Callable[[bytes, Sequence[bytes]], bool]
    # The message about what was dropped: from the parent header, the number of messages and of bytes.
    Report = Callable[[bytes, int, int], list[bytes]]

# Offered to the gateway (protocol/SPEC.md): this mailbox, the commands `state` and `usage`, and that
# requests are confirmed.
FEATURES = ("mailbox", "state", "usage", ACCEPTED)
# What may be on its way to one client without an acknowledgement.
WINDOW_MESSAGES = 256
WINDOW_BYTES = 2 * 2**20
# Each message on disk takes some memory as well.
MOST_MESSAGES = 50_000
# The cells whose losses are counted for a client; more are counted with the last one.
MOST_CELLS = 256
# Beyond this number, a new client replaces the one that has been away longest.
MOST_CLIENTS = 32

# The route of a session whose connection has become another session's; 0MQ's own are not empty.
_NOWHERE = b""


@dataclass(frozen=True, slots=True)
class _Message:
    number: int
    channel: bytes
    cost: int
    frames: list[bytes] | Stored
    except_for: _Client | None = None


@dataclass
class _Loss:
    """The messages of one cell that a client has lost."""

    number: int  # of the last message
    messages: int = 0
    size: int = 0


@dataclass(eq=False)
class _Client:
    session: bytes
    route: bytes
    acknowledged: int  # the number of a message, as is `sent`
    sent: int
    published: int = 0  # how many of all published messages it was sent, or does not need
    connected: bool = True
    confirms: bool = False  # its requests, while its gateway can pass that on
    requests: AcceptedRequests = field(default_factory=AcceptedRequests)
    is_known: bool = True  # False if the session may have sent others, before it was forgotten
    replies: deque[_Message] = field(default_factory=deque)
    replies_sent: int = 0
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)  # number and cost
    bytes_in_flight: int = 0
    lost: dict[bytes, _Loss] = field(default_factory=dict)  # by parent header
    # Lost only if what is on its way does not arrive: messages that were dropped after they were sent, and
    # those that a message reports.
    unsure: deque[tuple[bytes, _Loss]] = field(default_factory=deque)

    def has_room(self, cost: int) -> bool:
        """Return whether a message of that cost can be on its way as well."""
        fits = self.bytes_in_flight + cost <= WINDOW_BYTES
        return not self.in_flight or (len(self.in_flight) < WINDOW_MESSAGES and fits)

    def lose(self, parent: bytes, lost: _Loss) -> None:
        """Count dropped messages, unless they have arrived."""
        if lost.number > self.sent:
            if parent not in self.lost and len(self.lost) == MOST_CELLS:
                parent = next(reversed(self.lost))
            loss = self.lost.setdefault(parent, _Loss(lost.number))
            loss.number = max(loss.number, lost.number)
            loss.messages += lost.messages
            loss.size += lost.size
        elif lost.number > self.acknowledged:
            self.unsure.append((parent, lost))


class Mailbox:
    """The messages to all clients, and each client's position.

    Args:
        most_bytes: how much is kept in memory.
        spool: keeps the rest; what does not fit there either is dropped, the oldest messages first.
        send: sends frames to a route; returns whether it is connected.
        report: builds the message about what was dropped.
    """

    def __init__(self, most_bytes: int, spool: Spool, send: Send, report: Report) -> None:
        self._most_bytes = most_bytes
        self._spool = spool
        self._send = send
        self._report = report
        self._bytes = 0  # in memory
        self._count = 0
        self._last = 0
        self._published: deque[_Message] = deque()
        self._past = 0  # how many were published before the first of these
        # By session; the one that attached last is at the end.
        self._clients: dict[bytes, _Client] = {}
        self._routes: dict[bytes, _Client] = {}
        self._has_forgotten = False  # a session whose requests were confirmed

    @property
    def on_its_way(self) -> bool:
        """True while a connected client has unacknowledged messages."""
        return any(client.connected and client.in_flight for client in self._clients.values())

    def attach(
        self, session: bytes, route: bytes, execution_state: str, *, confirms: bool = False
    ) -> None:
        """Send what `session` has missed, and all later messages, to `route`.

        A new session has missed nothing. A route that attaches again has a new connection: what was on
        its way is lost. A route has one session: the one before waits until it attaches elsewhere.

        Args:
            confirms: whether requests that come on the route are confirmed, and dropped the second time.
        """
        if (other := self._routes.get(route)) and other.session != session:
            other.route, other.connected = _NOWHERE, False
        client = self._clients.pop(session, None)
        if client is None:
            is_known = not self._has_forgotten
            self._make_room()
            client = _Client(session, route, self._last, self._last, is_known=is_known)
        elif client.route not in (route, _NOWHERE):
            self._routes.pop(client.route, None)
            self._send(client.route, [b"taken"])
        self._clients[session] = client
        self._routes[route] = client
        client.route, client.confirms = route, confirms
        self._rewind(client)
        welcome: dict[str, Any] = {
            "execution_state": execution_state,
            "dropped": 0,  # each cell gets a message of its own
            "last": self._last,
            "features": FEATURES,
        }
        if confirms:
            # What comes again comes before new requests, so nothing older than these comes any more.
            welcome["remembers"] = client.is_known or bool(client.requests)
        self._send(route, [b"welcome", json.dumps(welcome).encode()])
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
        while client.unsure and client.unsure[0][1].number <= number:
            client.unsure.popleft()
        client.acknowledged = max(client.acknowledged, min(number, client.sent))
        while client.replies and client.replies[0].number <= client.acknowledged:
            self._pop_reply(client)
        self._continue(client)
        self._trim()

    def confirms(self, route: bytes) -> bool:
        """Return whether requests that come on a route are confirmed."""
        client = self._routes.get(route)
        return client is not None and client.confirms

    def accept(self, route: bytes, request: str) -> bool:
        """Remember a request of the session at `route`; return False if the kernel has got it before."""
        client = self._routes.get(route)
        return client is not None and client.requests.add(request)

    def session_of(self, route: bytes) -> bytes | None:
        """Return the session that is attached at `route`."""
        client = self._routes.get(route)
        return client.session if client else None

    def post(self, channel: bytes, frames: Sequence[bytes], to: bytes) -> None:
        """Send a message of the kernel to a session, and keep it while the client is away."""
        receiver = self._clients.get(to)
        if receiver is None:
            return
        if message := self._keep(channel, frames, [receiver], to):
            receiver.replies.append(message)
            self._continue(receiver)

    def publish(self, frames: Sequence[bytes], ends: bytes | None = None) -> None:
        """Send a message of the kernel to all, and keep it for clients that are away.

        Args:
            frames: the message.
            ends: the session whose request it ends. That client waits for it as it does for the reply.
        """
        waiting = self._clients.get(ends) if ends else None
        if waiting:
            self.post(b"iopub", frames, waiting.session)
        clients = [client for client in self._clients.values() if client is not waiting]
        if clients and (message := self._keep(b"iopub", frames, clients, except_for=waiting)):
            self._published.append(message)
            for client in self._clients.values():
                self._continue(client)

    def _keep(
        self,
        channel: bytes,
        frames: Sequence[bytes],
        receivers: Sequence[_Client],
        session: bytes = b"",
        except_for: _Client | None = None,
    ) -> _Message | None:
        """Store a message; if that is impossible, send it to those who can take it now."""
        self._last += 1
        cost = cost_of(frames)
        stored = self._store(frames, cost, session)
        if stored is not None:
            self._count += 1
            return _Message(self._last, channel, cost, stored, except_for)
        for client in receivers:
            if self._has_caught_up(client) and client.has_room(cost):
                words = [channel, b"%d" % self._last, *frames]
                self._send_numbered(client, self._last, cost, words)
        self._lose(self._last, frames, receivers)
        return None

    def _store(
        self, frames: Sequence[bytes], cost: int, session: bytes
    ) -> list[bytes] | Stored | None:
        """Store a message in memory or on disk, in place of the oldest ones if need be."""
        while cost <= max(self._most_bytes, self._spool.most_bytes):
            if self._count < MOST_MESSAGES:
                if self._bytes + cost <= self._most_bytes:
                    self._bytes += cost
                    return list(frames)
                if stored := self._spool.put(frames, session):
                    return stored
            if not self._drop_oldest(replies=bool(session)):
                break
        return None

    def _has_caught_up(self, client: _Client) -> bool:
        was_sent_all = client.published - self._past >= len(self._published)
        return (
            client.connected
            and was_sent_all
            and client.replies_sent == len(client.replies)
            and not client.lost
        )

    def _frames_of(self, message: _Message) -> list[bytes]:
        """Return a message as the kernel sent it; nothing if the disk fails."""
        if isinstance(message.frames, list):
            return message.frames
        try:
            return self._spool.get(message.frames)
        except OSError:
            return []

    def _free(self, message: _Message) -> None:
        self._count -= 1
        if isinstance(message.frames, list):
            self._bytes -= message.cost
        else:
            self._spool.free(message.frames)

    def _continue(self, client: _Client) -> None:
        """Send the next messages, as far as the window allows."""
        while client.connected and client.has_room(0):
            position = max(client.published - self._past, 0)
            published = self._published[position] if position < len(self._published) else None
            reply = (
                client.replies[client.replies_sent]
                if client.replies_sent < len(client.replies)
                else None
            )
            candidates = [message for message in (published, reply) if message is not None]
            message = min(candidates, key=lambda each: each.number, default=None)
            self._report_lost(client, message.number if message else None)
            if message is None or not client.connected or not client.has_room(message.cost):
                return
            if message.except_for is not client:
                frames = self._frames_of(message)
                words = [message.channel, b"%d" % message.number, *frames]
                if not frames:
                    self._lose(message.number, frames, [client])
                elif not self._send_numbered(client, message.number, message.cost, words):
                    return
            if message is reply:
                client.replies_sent += 1
            else:
                client.published = self._past + position + 1

    def _report_lost(self, client: _Client, before: int | None) -> None:
        """Send the messages about what a client has lost before a message, in the order of all numbers."""
        for parent, loss in sorted(client.lost.items(), key=lambda item: item[1].number):
            if (before is not None and loss.number > before) or not client.has_room(0):
                return
            words = [b"iopub", b"%d" % loss.number]
            words += self._report(parent, loss.messages, loss.size)
            if not self._send_numbered(client, loss.number, cost_of(words), words):
                return
            del client.lost[parent]
            client.lose(parent, loss)

    def _send_numbered(
        self, client: _Client, number: int, cost: int, frames: Sequence[bytes]
    ) -> bool:
        """Send a message; return whether the client is connected."""
        client.connected = self._send(client.route, frames)
        if client.connected:
            client.sent = number
            client.in_flight.append((number, cost))
            client.bytes_in_flight += cost
        return client.connected

    def _rewind(self, client: _Client) -> None:
        """Go back to the last acknowledgement: the rest did not arrive."""
        client.in_flight.clear()
        client.bytes_in_flight = 0
        client.sent = client.acknowledged
        unsure, client.unsure = client.unsure, deque()
        for loss in unsure:
            client.lose(*loss)
        client.replies_sent = 0
        client.published = self._past + sum(
            message.number <= client.acknowledged for message in self._published
        )
        client.connected = True

    def _drop_oldest(self, *, replies: bool) -> bool:
        """Drop a published message, or a reply if no other is left: a client would wait for it forever."""
        if self._published:
            message = self._published[0]
            frames = self._frames_of(message)
            self._pop_published()
            self._lose(message.number, frames, self._clients.values())
            return True
        clients = [client for client in self._clients.values() if client.replies]
        if not (replies and clients):
            return False
        client = min(clients, key=lambda each: each.replies[0].number)
        message = client.replies[0]
        frames = self._frames_of(message)
        self._pop_reply(client)
        self._lose(message.number, frames, [client])
        return True

    def _lose(self, number: int, frames: Sequence[bytes], clients: Iterable[_Client]) -> None:
        """Count a message for the clients that have not received it; a status shows nothing in a cell."""
        if type_of(frames) == "status":
            return
        parent, size = parent_of(frames), sum(map(len, frames))
        for client in clients:
            client.lose(parent, _Loss(number, 1, size))

    def _trim(self) -> None:
        """Drop the messages that all clients have acknowledged."""
        settled = min((c.acknowledged for c in self._clients.values()), default=self._last)
        while self._published and self._published[0].number <= settled:
            self._pop_published()

    def _pop_published(self) -> None:
        message = self._published.popleft()
        self._past += 1
        self._free(message)

    def _pop_reply(self, client: _Client) -> None:
        message = client.replies.popleft()
        client.replies_sent = max(client.replies_sent - 1, 0)
        self._free(message)

    def _make_room(self) -> None:
        if len(self._clients) < MOST_CLIENTS:
            return
        for client in self._clients.values():
            if not client.connected or not self._send(client.route, [b"ping"]):
                self._forget(client)
                return

    def _forget(self, client: _Client) -> None:
        self._has_forgotten |= bool(client.requests)
        self._routes.pop(client.route, None)
        del self._clients[client.session]
        while client.replies:
            self._pop_reply(client)
        self._trim()
