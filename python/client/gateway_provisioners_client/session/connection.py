"""A kernel of a gateway, over a websocket that is resumed when it is lost."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from gateway_provisioners_client.errors import ClientError, CredentialError, GatewayRefused
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.gateway.connections import GatewayWebsocket
from gateway_provisioners_client.session import endings, words
from gateway_provisioners_client.session.frames import MalformedMessage, from_v1, to_v1
from gateway_provisioners_client.session.link import Link, LinkBroken
from gateway_provisioners_client.session.requests import Request, Requests
from gateway_provisioners_client.session.state import ConnectionState, Phase

__all__ = ["ConnectionState", "Phase", "RemoteKernel"]

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0

# Of messages that are not sent, or not confirmed.
_MOST_WAITING = 1000
_MOST_WAITING_BYTES = 64 * 1024 * 1024

# The gateway repeats what was not confirmed: at most 256 messages, besides those of the kernel's channels.
_REMEMBERED = 4096

# A proxy, or a gateway that just started, may answer 404 once for a kernel that runs.
_TIMES_NOT_FOUND = 3

_LONGEST_ATTEMPT = 128


class RemoteKernel:
    """A kernel of a gateway, over a websocket that is resumed when it is lost.

    It says in the output of running cells that it connects again, and ends those that get no answer.

    Args:
        api: the gateway.
        kernel_id: there.
        session_id: names this client at the gateway: output is kept for it while it is away.
        deliver: called with a channel and the message's header, parent header, metadata, content and buffers,
            in the kernel's order, each once.
        state: called when the connection is made, is lost, or ends for good.
        room: awaited before the next message is read; until then the kernel is slowed down.
    """

    def __init__(
        self,
        api: GatewayApi,
        kernel_id: str,
        session_id: str,
        *,
        deliver: Callable[[str, list[bytes]], None],
        state: Callable[[ConnectionState], None],
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._api = api
        self.kernel_id = kernel_id
        self._session_id = session_id
        self._deliver = deliver
        self._state = state
        self._room = room
        self._unsent: deque[Request] = deque()
        self._unsent_bytes = 0
        self._requests = Requests()
        self._seen: OrderedDict[int, int] = OrderedDict()
        self._link: Link | None = None
        self._connections = 0
        self._ready = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._closing = asyncio.Event()
        self._gone = ""
        self._lost_since: float | None = None
        self._probe = ""
        self._doubtful: list[Request] = []
        self._said = ""
        self._attempt = ""
        self._confirms = False

    @property
    def attempt(self) -> str:
        """The name of this launch of the kernel; "" at gateways that do not say."""
        return self._attempt

    @property
    def confirms(self) -> bool:
        """True if the kernel's launcher confirms requests, which are then sent again when in doubt."""
        return self._confirms

    @property
    def running(self) -> list[bytes]:
        """The headers of the cells that have not ended, oldest first."""
        return self._requests.running

    async def connected(self) -> None:
        """Wait until messages can be sent, or never can."""
        await self._ready.wait()

    async def close(self) -> None:
        """End the connection; the kernel stays."""
        self._closing.set()
        self._has_room.set()

    async def send(self, channel: str, parts: Sequence[bytes | memoryview]) -> None:
        """Send a message as soon as there is a connection; wait while too many have not been taken.

        Args:
            channel: "shell", "control" or "stdin".
            parts: header, parent header, metadata, content and buffers, serialized.
        """
        frame = to_v1(channel, parts)
        request = Request.of(channel, bytes(parts[0]), frame)
        while self._is_full(len(frame)) and not self._closing.is_set() and not self._gone:
            self._has_room.clear()
            await self._has_room.wait()
        if self._gone:
            self._end([request], self._gone)
            return
        self._unsent.append(request)
        self._unsent_bytes += len(frame)
        if self._link is not None:
            self._link.wake()

    def abort_unsent(self, name: str, text: str, *, cells_only: bool = False) -> None:
        """End requests that the kernel has not been given.

        Args:
            cells_only: leave other requests.
            name: of the error, such as "KeyboardInterrupt".
            text: the reason, for the user.
        """
        unsent = [
            each for each in self._unsent if not cells_only or each.msg_type == "execute_request"
        ]
        for request in unsent:
            self._unsent.remove(request)
            self._unsent_bytes -= len(request.frame)
        self._make_room()
        for request in unsent:
            for channel, parts in endings.failed(request, name, text):
                self._deliver(channel, parts)

    def _is_full(self, size: int) -> bool:
        waiting = len(self._unsent) + len(self._requests)
        waiting_bytes = self._unsent_bytes + self._requests.unconfirmed_bytes
        return waiting > 0 and (
            waiting >= _MOST_WAITING or waiting_bytes + size > _MOST_WAITING_BYTES
        )

    async def run(self) -> None:
        """Keep the kernel connected, until `close` or until it does not exist any longer."""
        pause = _FIRST_PAUSE
        not_found = 0
        while not self._closing.is_set():
            reason = ""
            needs_user = False
            began = time.monotonic()
            try:
                websocket = await self._until_closing(
                    self._api.websocket(self.kernel_id, self._session_id, confirm=True)
                )
                if websocket is None:
                    return
                not_found = 0
                reason = await self._serve(websocket)
            except GatewayRefused as error:
                reason = str(error)
                not_found = not_found + 1 if error.status == 404 else 0
                if not_found >= _TIMES_NOT_FOUND or (not_found and await self._is_unknown()):
                    self._end_for_good(endings.GONE)
                    return
                needs_user = error.status in (401, 403)
            except CredentialError as error:
                reason = str(error)
                needs_user = True
            except ClientError as error:
                reason = str(error)
            if self._closing.is_set():
                return
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            self._lose(reason, needs_user=needs_user)
            if needs_user:
                pause = _LONGEST_PAUSE
            await self._until_closing(asyncio.sleep(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _is_unknown(self) -> bool:
        """Return whether the gateway says so when asked for the kernel, too."""
        try:
            return await self._api.kernel(self.kernel_id) is None
        except ClientError:
            return False

    async def _until_closing(self, awaitable: Awaitable[Any]) -> Any:
        """Return the result, or None if the connection is to be closed before."""
        work = asyncio.ensure_future(awaitable)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({work, closing}, return_when=asyncio.FIRST_COMPLETED)
            return await work if work.done() else None
        finally:
            work.cancel()
            closing.cancel()
            # A link says farewell, and an opening one closes its connection.
            await asyncio.gather(work, return_exceptions=True)

    async def _serve(self, websocket: GatewayWebsocket) -> str:
        self._connections += 1
        link = Link(
            websocket,
            on_message=self._take,
            on_text=self._take_text,
            next_frame=self._next_frame,
            room=self._room,
        )
        self._link = link
        if "confirm" not in websocket.features:
            # Another server, or an older gateway, says nothing about itself.
            self._attach({})
        try:
            return await self._until_closing(link.run()) or ""
        except MalformedMessage:
            return "The gateway sent a message that is not one of a kernel."
        except LinkBroken as error:
            return str(error)
        finally:
            self._link = None
            self._ready.clear()

    # From the gateway.

    def _take(self, frame: bytes) -> None:
        channel, parts = from_v1(frame)
        if self._is_repeated(parts[0]):
            return
        parent = words.short_header(parts[1])
        parent_id = words.text_of(parent, "msg_id")
        msg_type = words.text_of(words.short_header(parts[0]), "msg_type")
        if parent_id:
            idle = channel == "iopub" and msg_type == "status" and b'"idle"' in parts[3][:256]
            self._requests.answered(parent_id, msg_type, idle=idle)
            self._make_room()
        if self._probe and parent_id == self._probe:
            if channel == "shell":
                self._probe = ""
                self._end(self._requests.give_up(self._doubtful), endings.LOST)
                self._doubtful = []
            return
        self._deliver(channel, parts)

    def _is_repeated(self, header: bytes) -> bool:
        """Return whether a message came on an earlier connection; the gateway repeats the unconfirmed."""
        key = hash(header)
        before = self._seen.setdefault(key, self._connections)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return before != self._connections

    def _take_text(self, value: dict[str, Any]) -> None:
        if isinstance(attached := value.get("attached"), dict):
            self._attach(attached)
        if isinstance(accepted := value.get("accepted"), list):
            self._requests.accepted(accepted)
            self._make_room()

    def _attach(self, attached: dict[str, Any]) -> None:
        """Begin to send: new requests, and those that this launch of the kernel has not confirmed."""
        self._attempt = words.text_of(attached, "attempt")[:_LONGEST_ATTEMPT]
        self._confirms = attached.get("confirms") is True and bool(self._attempt)
        if self._link is not None and attached:
            self._link.confirm_received()
        held = attached.get("held")
        self._resume(held if isinstance(held, list) else [])
        if not self._ready.is_set():
            self._ready.set()
            seconds = 0.0 if self._lost_since is None else time.monotonic() - self._lost_since
            if self._lost_since is not None:
                self._say(f"Connected again after {seconds:.0f} s.")
            self._lost_since = None
            self._state(ConnectionState(Phase.CONNECTED, seconds=seconds))
        if self._link is not None:
            self._link.wake()

    def _resume(self, held: Sequence[object]) -> None:
        """Send again what can be, and end what cannot be known.

        Args:
            held: the ids of requests that the gateway has, and sends to this attempt.
        """
        attempt = self._attempt
        if attempt:
            others = [each for each in self._requests.open if each.attempt not in ("", attempt)]
            for request in others:
                if request.msg_id in held:
                    request.attempt = attempt
            lost = [each for each in others if each.attempt != attempt]
            text = endings.RESTARTED if self._ready.is_set() else endings.OTHER_ATTEMPT
            self._end(self._requests.give_up(lost), text)
        if self._confirms:
            self._resend([each for each in self._requests.unconfirmed if each.attempt == attempt])
        elif not self._ready.is_set():
            self._ask_whether_lost()

    def _resend(self, requests: Sequence[Request]) -> None:
        if requests and self._link is not None:
            ids = [each.msg_id for each in requests]
            self._link.say("resend", {"attempt": self._attempt, "ids": ids})
            self._requests.take_back(requests)
            self._unsent.extendleft(reversed(requests))
            self._unsent_bytes += sum(len(each.frame) for each in requests)

    def _ask_whether_lost(self) -> None:
        """Send a question: the kernel answers in order, so what has no answer by then will not get one."""
        self._doubtful = self._requests.open
        if not self._doubtful:
            return
        question = words.message("kernel_info_request", b"{}", {})
        self._probe = words.text_of(words.short_header(question[0]), "msg_id")
        frame = to_v1("shell", question)
        self._unsent.appendleft(Request("shell", question[0], "", "", "", frame, replied=True))
        self._unsent_bytes += len(frame)

    # To the gateway.

    def _next_frame(self) -> bytes | None:
        if not self._unsent or not self._ready.is_set():
            return None
        request = self._unsent.popleft()
        frame = request.frame
        self._unsent_bytes -= len(frame)
        self._requests.sent(request, self._attempt, confirms=self._confirms)
        self._make_room()
        return frame

    def _make_room(self) -> None:
        if not self._has_room.is_set() and not self._is_full(0):
            self._has_room.set()

    # Words for users.

    def _lose(self, reason: str, *, needs_user: bool) -> None:
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
            if self._connections:
                self._say(f"The connection to the gateway was lost; reconnecting ... {reason}")
        elif needs_user and reason != self._said:
            self._say(f"Still reconnecting: {reason}")
        self._said = reason
        self._state(ConnectionState(Phase.LOST, reason, now - self._lost_since))

    def _say(self, text: str) -> None:
        for header in self._requests.running:
            self._deliver("iopub", words.stream(header, text.strip() + "\n"))

    def _end(self, requests: Iterable[Request], text: str) -> None:
        """End requests of the client that the kernel will not answer."""
        for request in requests:
            for channel, parts in endings.of(request, text):
                self._deliver(channel, parts)

    def _end_for_good(self, text: str) -> None:
        self._gone = text
        self._end([*self._requests.give_up(self._requests.open), *self._unsent], text)
        self._unsent.clear()
        self._unsent_bytes = 0
        self._has_room.set()
        self._ready.set()
        self._state(ConnectionState(Phase.GONE, text.strip()))
