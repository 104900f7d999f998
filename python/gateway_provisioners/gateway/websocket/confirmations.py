"""Confirmations between the gateway and a client, in text frames beside the kernel's messages.

A client asks for it with `?features=confirm` (docs/output-while-away.md). Its messages, and those of the
kernel, are binary in the protocol V1, so that text is free for these frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.client_frames import MOST_NAMED, Resend, parse_frame
from gateway_provisioners.gateway.websocket.deliveries import Deliveries
from gateway_provisioners.gateway.websocket.mailbox_protocol import Welcome
from gateway_provisioners.gateway.websocket.outbox import Outbox
from gateway_provisioners.model.features import ACCEPTED

FEATURE = "confirm"
# In the response to a client's request for a websocket on which it is in force.
FEATURES_HEADER = "X-Gateway-Features"
_LONGEST_ID = 256

_RESTARTED = (
    "The connection to the gateway was lost, and the kernel was restarted meanwhile. It is not known whether "
    "this ran before; it was not sent again. Run it again if need be."
)
_UNKNOWN = (
    "The connection to the gateway was lost. It is not known whether this ran, and it was not sent again. "
    "Run it again if need be."
)


def are_confirmed(features: str, subprotocol: str | None, session_id: str | None) -> bool:
    """Return whether a client gets confirmations.

    Args:
        features: those that it asks for, separated by commas.
        subprotocol: the websocket's.
        session_id: the client's, without which it cannot come back.
    """
    wanted = FEATURE in (name.strip() for name in features.split(","))
    return wanted and subprotocol == serialization.V1 and bool(session_id)


class Confirmations:
    """The confirmations of one websocket.

    Args:
        outbox: the client's.

    Attributes:
        deliveries: what the client has received.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.deliveries = Deliveries(outbox)
        self._outbox = outbox
        self._attempt = ""
        self._remembers = False
        self._named: dict[
            str, str
        ] = {}  # the attempts to which requests were sent before, by their ids

    def attached(
        self, attempt: str, welcome: Welcome | None, held: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Say which launch of the kernel gets the client's messages from now on.

        Args:
            attempt: its name.
            welcome: that of the launcher's mailbox; None if it has none.
            held: the headers of the messages that have waited for this launch.
        """
        self._attempt = attempt
        self._remembers = welcome is not None and welcome.remembers
        content: dict[str, Any] = {
            "attempt": attempt,
            "confirms": welcome is not None and ACCEPTED in welcome.features,
            "mailbox": welcome is not None,
        }
        ids = [request_id(each) for each in held]
        if sent := [each for each in ids if each and not self._words_against(each)]:
            content["held"] = sent
        self._write({"attached": content})

    def accepted(self, requests: Sequence[str]) -> None:
        """Pass on which requests the kernel's launcher has taken."""
        self._write({"accepted": requests})

    def take(self, frame: bytes) -> None:
        """Read a text frame of the client.

        Raises:
            ProtocolError: it is malformed, or not true.
        """
        content = parse_frame(frame)
        if isinstance(content.received, int):
            self.deliveries.received(content.received)
        if isinstance(content.resend, Resend):
            self._named.update(dict.fromkeys(content.resend.ids, content.resend.attempt))
            if len(self._named) > MOST_NAMED:
                raise ProtocolError("too many requests are named")

    def refusal(self, header: Mapping[str, Any], *, forbidden: bool = False) -> str:
        """Return why a request that comes again must not be sent, in words; "" if it may, or is new.

        It counts as new from then on.

        Args:
            header: the request's.
            forbidden: whether the client may not send anything to the kernel.
        """
        request = request_id(header)
        words = self._words_against(request)
        if self._named.pop(request, None) is not None and forbidden:
            return words or _UNKNOWN
        return words

    def _words_against(self, request: str) -> str:
        attempt = self._named.get(request)
        if attempt is None:
            return ""
        if attempt != self._attempt:
            return _RESTARTED
        return "" if self._remembers else _UNKNOWN

    def _write(self, frame: Mapping[str, Any]) -> None:
        self._outbox.write([msgspec.json.encode(frame)], binary=False)


def request_id(header: Mapping[str, Any]) -> str:
    """Return the id of a message; "" if it has none, or one that is too long."""
    value = header.get("msg_id")
    return value if isinstance(value, str) and len(value) <= _LONGEST_ID else ""
