"""The requests that wait for an answer, and those that the kernel's launcher has not confirmed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway_provisioners_client.session.words import reply_type, short_header, text_of

# Of those with an answer to come. Clients that send more and hear nothing have other troubles.
_MOST_AWAITED = 4096

# Gateways confirm no longer ones.
_LONGEST_ID = 256


@dataclass
class Request:
    """One message of a client, until it is answered.

    Attributes:
        channel: of the kernel.
        header: as the client sent it.
        msg_id: of the header; "" without one.
        msg_type: of the header.
        reply: the type of its reply; "" if none comes.
        frame: the whole, as long as it may have to be sent again.
        attempt: that of the kernel to which it was sent; "" if it was not sent.
        accepted: True if the kernel has it for certain.
        replied: True if the reply has come, or none will.
        idle: True if the kernel has said that it is done with it.
    """

    channel: str
    header: bytes
    msg_id: str
    msg_type: str
    reply: str
    frame: bytes
    attempt: str = ""
    accepted: bool = False
    replied: bool = False
    idle: bool = False

    @classmethod
    def of(cls, channel: str, header: bytes, frame: bytes) -> Request:
        """Return the request of a message."""
        fields = short_header(header)
        reply = reply_type(fields) if channel != "stdin" else ""
        return cls(
            channel,
            header,
            text_of(fields, "msg_id"),
            text_of(fields, "msg_type"),
            reply,
            frame,
            replied=not reply,
        )


class Requests:
    """Requests in the order of sending; bounded."""

    def __init__(self) -> None:
        self._awaited: OrderedDict[str, Request] = OrderedDict()
        self._unconfirmed: OrderedDict[str, Request] = OrderedDict()
        self.unconfirmed_bytes = 0

    @property
    def unconfirmed(self) -> list[Request]:
        """Those that the launcher has not accepted."""
        return list(self._unconfirmed.values())

    @property
    def open(self) -> list[Request]:
        """Those that are not answered, or not accepted."""
        return list({**self._awaited, **self._unconfirmed}.values())

    def __len__(self) -> int:
        return len(self._unconfirmed)

    @property
    def running(self) -> list[bytes]:
        """The headers of the cells that have not ended."""
        cells = [each for each in self._awaited.values() if each.msg_type == "execute_request"]
        return [each.header for each in cells if not each.replied]

    def sent(self, request: Request, attempt: str, *, confirms: bool) -> None:
        """Note that a request is being sent.

        Args:
            request: what is sent.
            attempt: that of the kernel.
            confirms: True if the kernel's launcher will say that it has it.
        """
        request.attempt = attempt
        # An answer of the user to input() has no reply, but must not be lost or given twice.
        if request.msg_id and request.channel != "stdin":
            self._awaited[request.msg_id] = request
            if len(self._awaited) > _MOST_AWAITED:
                self._awaited.popitem(last=False)
        if confirms and 0 < len(request.msg_id) <= _LONGEST_ID:
            self._unconfirmed[request.msg_id] = request
            self.unconfirmed_bytes += len(request.frame)
        else:
            request.frame = b""

    def accepted(self, msg_ids: Iterable[object]) -> None:
        """Note that the launcher has these."""
        for msg_id in msg_ids:
            if isinstance(msg_id, str) and (request := self._unconfirmed.get(msg_id)) is not None:
                self._confirm(request)

    def _confirm(self, request: Request) -> None:
        request.accepted = True
        if self._unconfirmed.pop(request.msg_id, None) is not None:
            self.unconfirmed_bytes -= len(request.frame)
        request.frame = b""

    def answered(self, parent_id: str, msg_type: str, *, idle: bool) -> None:
        """Note a message of the kernel: each proves that the kernel has the request."""
        request = self._awaited.get(parent_id)
        if request is None:
            return
        if not request.accepted:
            self._confirm(request)
        request.replied = request.replied or msg_type == request.reply
        request.idle = request.idle or idle
        if request.replied and request.idle:
            del self._awaited[parent_id]

    def give_up(self, requests: Iterable[Request]) -> list[Request]:
        """Forget these; return those of them that were still unanswered."""
        known = [each for each in requests if self._is_known(each)]
        for request in known:
            self._confirm(request)
            self._awaited.pop(request.msg_id, None)
        return known

    def take_back(self, requests: Iterable[Request]) -> None:
        """Regard these as not sent: they are sent again."""
        for request in requests:
            if self._unconfirmed.pop(request.msg_id, None) is not None:
                self.unconfirmed_bytes -= len(request.frame)

    def _is_known(self, request: Request) -> bool:
        return request.msg_id in self._awaited or request.msg_id in self._unconfirmed
