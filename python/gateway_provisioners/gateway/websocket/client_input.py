"""Messages of a client: which of them its kernel gets, when, and the answers to the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_client._version import protocol_version
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.client_output import ClientOutput
from gateway_provisioners.gateway.websocket.close_codes import INVALID_DATA, TRY_AGAIN_LATER
from gateway_provisioners.gateway.websocket.confirmations import Confirmations
from gateway_provisioners.gateway.websocket.kernel_writer import KernelWriter
from gateway_provisioners.gateway.websocket.losses import megabytes
from gateway_provisioners.gateway.websocket.read_only_answers import ReadOnlyAnswers
from gateway_provisioners.gateway.websocket.requests import ClientRequests
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header
from gateway_provisioners.gateway.websocket.too_large import request_in
from gateway_provisioners.model.ownership import Access

_log = logging.getLogger(__name__)


class ClientInput:
    """Passes a client's messages on to its kernel, as far as the client may and the kernel takes them.

    Args:
        kernel: the kernel.
        session: signs the messages with the kernel's key.
        requests: the client's, which are noted here.
        output: writes to the client.
        limits: bounds the messages and what waits for the kernel.
        channels: returns the kernel's channels, which are others after it has moved.
        in_transit: returns how many bytes were sent and have not left for the kernel.
        access: returns the client's rights to the kernel now.
        disconnect: disconnects the client; called with a cause for metrics, the websocket's code and reason.
        confirmations: those of the websocket; None if the client does not ask for them.

    Attributes:
        on_message: called with each message.
        is_following: whether the kernel has moved, and messages are held until it is known to get them.
    """

    def __init__(
        self,
        kernel: KernelManager,
        session: Session,
        requests: ClientRequests,
        output: ClientOutput,
        limits: Limits,
        *,
        channels: Callable[[], Mapping[str, Any]],
        in_transit: Callable[[], int],
        access: Callable[[], Access],
        disconnect: Callable[[str, int, str], object],
        confirmations: Confirmations | None,
    ) -> None:
        self.on_message: Callable[[], object] = lambda: None
        self.is_following = False
        kernels: Any = kernel.parent
        self._kernel = kernel
        self._kernels = kernels
        self._session = session
        self._requests = requests
        self._writer = output.writer
        self._outbox = output.outbox
        self._limits = limits
        self._v1 = output.is_v1
        self._channels = channels
        self._access = access
        self._disconnect = disconnect
        self._confirmations = confirmations
        self._room = asyncio.Event()
        self._kernel_writer = KernelWriter(session, limits, in_transit, self._give_up)
        timeout = kernels.kernel_info_timeout
        self._answers = ReadOnlyAnswers(kernel, session, output.writer, timeout)

    def take(self, message: bytes, *, text: bool) -> None:
        """Pass a message of the client on to the kernel.

        Args:
            text: whether it was sent as text, and not as binary data.
        """
        if text and self._confirmations is not None:
            self._take_frame(self._confirmations, message)
            return
        self.on_message()
        channels = self._channels()
        if not channels or self._kernel_writer.closed:
            return
        try:
            channel, parts = self._read(message, text=text)
        except ProtocolError as error:
            self._refuse_malformed(error)
            return
        header = parsed_header(parts[0])
        if self._access() < Access.FULL:
            if not self._abort_if_refused(channel, header, forbidden=True):
                self._answers.answer(channel, header)
            return
        if channel not in channels:
            self._log("a client sent a message on no channel")
            return
        allowed = self._kernels.allowed_message_types
        if allowed and header.get("msg_type") not in allowed:
            self._log("a message is of a type that is not allowed")
            return
        if header and "version" not in header:
            # Kernels would take the message for one of before 2015, and parts of it for others.
            header = {**header, "version": protocol_version}
            parts[0] = self._session.pack(header)
        self._pass_on(channel, parts, header, len(message))

    def _pass_on(
        self, channel: str, parts: list[Part], header: Mapping[str, Any], size: int
    ) -> None:
        # Stock kernel managers lack the attribute.
        holds = self.is_following or getattr(self._kernel, "holds_messages", False)
        if not holds and self._abort_if_refused(channel, header):
            return
        self._requests.add(channel, header, held=holds)
        if holds:
            self._kernel_writer.hold(channel, parts, size)
        else:
            self._kernel_writer.send(self._channels()[channel], parts)

    def _take_frame(self, confirmations: Confirmations, frame: bytes) -> None:
        """Read what the client confirms."""
        if self._kernel_writer.closed:
            return
        try:
            confirmations.take(frame)
        except ProtocolError as error:
            self._refuse_malformed(error)

    def _refuse_malformed(self, error: ProtocolError) -> None:
        self._log("a client sent a malformed message: %s", error)
        reason = f"The message is malformed: {error}"
        self._disconnect("malformed", INVALID_DATA, reason[:120])

    def _abort_if_refused(
        self, channel: str, header: Mapping[str, Any], *, forbidden: bool = False
    ) -> bool:
        """Answer a request that comes again and may have been executed; return whether it is one."""
        if self._confirmations is None:
            return False
        reason = self._confirmations.refusal(header, forbidden=forbidden)
        if reason:
            self._writer.abort(channel, header, reason)
        return bool(reason)

    def _read(self, message: bytes, *, text: bool) -> serialization.FromClient:
        if not self._v1:
            return serialization.from_json(message, text=text)
        if text:
            raise ProtocolError("it is text")
        return serialization.from_v1(message)

    def refuse(self, message: bytes, size: int, *, text: bool) -> None:
        """Answer a message of the client that is too large.

        Args:
            message: its beginning and its end.
            size: the size of the whole.
        """
        channel, header = request_in(message, v1=self._v1, text=text)
        most = megabytes(self._limits.messages.to_kernel)
        reason = (
            f"A message of {megabytes(size)} was not sent to the kernel: this gateway takes at most {most}. "
            f"Ask {self._limits.administrator} to raise gateway.maxMessageBytes.toKernel."
        )
        self._log("%s", reason)
        self._writer.on_replaced("too_large")
        self._writer.answer_with_error(channel, header, reason)

    async def wait_until_sent(self) -> None:
        """Return when the client may send more: most of what it has sent has left for the kernel."""
        if self._access() < Access.FULL:
            await self._wait_for_room()
        writer = self._kernel_writer
        if not await writer.wait_until_sent():
            reason = (
                f"The kernel does not take what is sent to it: {megabytes(writer.waiting)} wait."
            )
            self._drop_unsent(reason, "Restart the kernel if this goes on.")

    async def _wait_for_room(self) -> None:
        """Return when the client has read most of what waits for it, so that answers cannot pile up."""
        while not self._kernel_writer.closed:
            self._room.clear()
            if self._outbox.has_room():
                return
            await self._room.wait()

    def has_room_again(self) -> None:
        """Note that the client has read most of what waits for it."""
        self._room.set()

    def has_left(self) -> None:
        """Note that bytes have left for the kernel."""
        self._kernel_writer.has_left()

    def kernel_moved(self) -> None:
        """Hold messages until `send_held`: the kernel's channels are new."""
        self.is_following = True
        self._answers.kernel_moved()

    def send_held(self) -> None:
        """Send what was held to the kernel's new channels."""
        self.is_following = False
        self._requests.expect_held()
        self._kernel_writer.send_held(self._channels(), self._may_send)

    @property
    def held_headers(self) -> list[Mapping[str, Any]]:
        """The headers of the messages that are held."""
        return [parsed_header(parts[0]) for _, parts in self._kernel_writer.held]

    def _may_send(self, channel: str, parts: list[Part]) -> bool:
        """Return whether a request that was held may be sent to the kernel now; answer it if not."""
        header = parsed_header(parts[0])
        if not self._abort_if_refused(channel, header):
            return True
        self._requests.awaited.remove(header.get("msg_id"))
        return False

    def close(self) -> None:
        """Forget everything, and take nothing more."""
        self._kernel_writer.close()
        self._answers.close()
        self._room.set()

    def _give_up(self) -> None:
        self._drop_unsent(
            "Other clients need the memory of what waits for this kernel.", "Try again later."
        )

    def _drop_unsent(self, reason: str, advice: str) -> None:
        """Disconnect a client whose messages the kernel does not take."""
        if self._kernel_writer.closed:
            return
        self._log("%s", reason)
        self._kernel_writer.close()
        self._writer.say(
            f"{reason} The rest is dropped, and the client is disconnected. {advice}",
            self._requests.last,
        )
        self._disconnect("unsent", TRY_AGAIN_LATER, reason)

    def _log(self, message: str, *details: object) -> None:
        _log.warning(f"Kernel %s: {message}", self._kernel.kernel_id, *details)
