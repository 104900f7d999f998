"""The gateway's answers to a client that may see what a kernel publishes, and may not use it.

Nothing that such a client sends reaches the kernel, not even harmless requests: what the kernel publishes
about a request bears its header, which the client writes, and so could end another client's cell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

from gateway_provisioners.aio import call_later
from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.access import ownership_of, read_only_words
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.messages import is_signed, message_parts
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_CHANNELS = frozenset({"shell", "control", "stdin"})
_INFO = "kernel_info_request"
# A client has one at a time.
_MOST_WAITING = 16
_LONGEST_INFO = 256 * 1024
# Frontends offer what is in the reply, and these need a client whose requests the kernel takes.
_NOT_OFFERED = {"debugger": msgspec.Raw(b"false"), "supported_features": msgspec.Raw(b"[]")}

_info = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Request(NamedTuple):
    channel: str
    header: Mapping[str, Any]


class ReadOnlyAnswers:
    """Answers the messages of one client in place of the kernel.

    Every client asks for the kernel's info when it connects: the gateway asks the kernel itself, in a
    request of its own. All else gets an error.

    Args:
        kernel: has the connections to the kernel.
        session: has the kernel's key.
        writer: writes to the client.
        timeout: seconds that the kernel has for its info.
    """

    def __init__(
        self, kernel: KernelManager, session: Session, writer: ClientWriter, timeout: float
    ) -> None:
        self._kernel = kernel
        self._session = session
        self._writer = writer
        self._timeout = timeout
        self._content: bytes | None = None
        self._waiting: list[_Request] = []
        self._channels: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None

    def answer(self, channel: str, header: Mapping[str, Any]) -> None:
        """Answer a message of the client.

        Args:
            header: the message's, which may be empty.
        """
        request = _Request(channel if channel in _CHANNELS else "shell", header)
        if header.get("msg_type") != _INFO:
            self._refuse(request)
        elif self._content is not None:
            self._write_info(request, self._content)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(request)
            if not self._channels:
                self._ask()
        else:
            self._fail(request, "Too many requests for the kernel's info wait for it.")

    def kernel_moved(self) -> None:
        """Ask again, at the kernel's new address."""
        self._stop_asking()
        self._content = None
        if self._waiting:
            self._ask()

    def close(self) -> None:
        """Disconnect from the kernel."""
        self._stop_asking()
        self._waiting.clear()

    def _refuse(self, request: _Request) -> None:
        self._fail(request, read_only_words(ownership_of(self._kernel)))

    def _fail(self, request: _Request, reason: str) -> None:
        kind = request.header.get("msg_type")
        # Not in reply to what frontends send by themselves, such as requests for completions.
        is_shown = kind == "execute_request" or not str(kind).endswith("_request")
        self._writer.answer_with_error(request.channel, request.header, reason, shown=is_shown)
        self._write_state()

    def _write_info(self, request: _Request, content: bytes) -> None:
        self._writer.answer(request.channel, "kernel_info_reply", content, request.header)
        self._write_state()

    def _write_state(self) -> None:
        """Write the kernel's state, unless it is that which an answer ends with."""
        if (state := getattr(self._kernel, "execution_state", "")) in ("busy", "starting"):
            self._writer.write_status(state, {})

    def _ask(self) -> None:
        # Some kernels answer on the one channel only, and a busy one on the other.
        self._channels = [self._kernel.connect_shell(), self._kernel.connect_control()]
        for channel in self._channels:
            channel.on_recv(self._take)
            self._session.send(channel, _INFO)
        self._timer = call_later(self._timeout, self._give_up)

    def _take(self, frames: Sequence[Part]) -> None:
        try:
            parts = message_parts(frames)
            if self._writer.verifies and not is_signed(self._session, frames):
                raise ProtocolError("its signature is wrong")  # noqa: TRY301
            content = _read_info(parts)
        except ProtocolError as error:
            self._writer.complain(error)
            return
        self._stop_asking()
        self._content = content
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._write_info(request, content)

    def _give_up(self) -> None:
        self._stop_asking()
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._fail(request, "The kernel does not answer.")

    def _stop_asking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for channel in self._channels:
            if not channel.closed():
                channel.on_recv(None)
                channel.close()
        self._channels = []


def _read_info(parts: Sequence[Part]) -> bytes:
    """Return the content of a kernel_info_reply, as a client with these rights gets it.

    Raises:
        ProtocolError: it is malformed, or another message.
    """
    if parsed_header(parts[0]).get("msg_type") != "kernel_info_reply":
        raise ProtocolError("it is not the reply to a kernel_info_request")
    if len(parts[3]) > _LONGEST_INFO:
        raise ProtocolError("its info is too long")
    try:
        return msgspec.json.encode({**_info.decode(parts[3]), **_NOT_OFFERED})
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError("its info is malformed") from None
