"""The messages of a mailbox that a client has received, as far as it has confirmed them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.outbox import Outbox

# An honest launcher has at most 256 messages on their way.
_MOST_UNCONFIRMED = 1024


class Mailbox(Protocol):
    """The connection to a mailbox, as far as it is needed here."""

    def delivered(self, number: int) -> None: ...

    def resume(self) -> None: ...


class _Delivery(NamedTuple):
    sent: int  # of the websocket's messages, with those that came of this one
    number: int  # the launcher's


class Deliveries:
    """Matches the messages that a client has received to those of the kernel's mailbox.

    A client counts the binary messages of its websocket. A message of the mailbox becomes one of these, or
    several, or none; and the gateway adds messages of its own.

    Args:
        outbox: the client's.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._mailbox: Mailbox | None = None
        self._received = 0
        self._unconfirmed: deque[_Delivery] = deque()

    def begin(self, mailbox: Mailbox) -> None:
        """Count for another mailbox from now on."""
        self._mailbox = mailbox
        self._unconfirmed.clear()

    def has_room(self) -> bool:
        """Return whether more may be on its way to the client."""
        return len(self._unconfirmed) < _MOST_UNCONFIRMED

    def add(self, number: int) -> None:
        """Note that all that comes of a message of the mailbox is in the outbox now."""
        count = self._outbox.queued_messages
        if count <= self._received:
            self._deliver(number)  # nothing comes of it
        else:
            self._unconfirmed.append(_Delivery(count, number))

    def received(self, count: int) -> None:
        """Note how many messages of the websocket the client has received.

        Raises:
            ProtocolError: there are not so many, or it has confirmed more before.
        """
        if not self._received <= count <= self._outbox.sent_messages:
            raise ProtocolError("it confirms messages that it has not received")
        self._received = count
        newest = None
        while self._unconfirmed and self._unconfirmed[0].sent <= count:
            newest = self._unconfirmed.popleft().number
        if newest is not None:
            self._deliver(newest)

    def _deliver(self, number: int) -> None:
        if self._mailbox is not None:
            self._mailbox.delivered(number)
            self._mailbox.resume()
