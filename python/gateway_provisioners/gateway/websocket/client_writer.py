"""Writes a kernel's messages to a client: in its websocket protocol, and within the limits."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_client.session import Session

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.client_limits import ClientLimit
from gateway_provisioners.gateway.websocket.losses import megabytes
from gateway_provisioners.gateway.websocket.messages import (
    error_content,
    error_reply,
    is_output,
    is_signed,
    message_parts,
    packed,
    stream_text,
)
from gateway_provisioners.gateway.websocket.outbox import Outbox
from gateway_provisioners.gateway.websocket.rates import OutputRate
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header

_log = logging.getLogger(__name__)

_JSON_PARTS = 4
_NO_BINARY = (
    "This output has binary data, which the Jupyter server in front of the gateway cannot read. "
    "`pip install gateway-provisioners-client` in its environment mends it."
)
# So many cells are remembered that the sentence above was written to.
_MOST_CELLS = 64


class ClientWriter:
    """Writes messages to one client.

    Args:
        kernel_id: for the log.
        session: builds messages of our own, and knows the kernel's key.
        outbox: takes the messages.
        v1: whether the websocket's protocol is V1, or the older one.
        max_bytes: the largest message of a kernel.
        client_limit: the messages that the client takes.
        administrator: whom to ask for higher limits, in words.
        rate: the limit on output.
        traceback_words: take the place of tracebacks; "": clients may see them.

    Attributes:
        verifies: whether signatures are checked: what CurveZMQ encrypts, it authenticates as well.
        on_replaced: called with the reason when a message is dropped or replaced.
    """

    def __init__(
        self,
        kernel_id: str,
        session: Session,
        outbox: Outbox,
        *,
        v1: bool,
        max_bytes: int,
        client_limit: ClientLimit,
        administrator: str,
        rate: OutputRate,
        traceback_words: str,
    ) -> None:
        self.verifies = True
        self.on_replaced: Callable[[str], object] = lambda _reason: None
        self._kernel_id = kernel_id
        self._session = session
        self._outbox = outbox
        self._v1 = v1
        self._max_bytes = max_bytes
        self._client_limit = client_limit
        self._administrator = administrator
        self._rate = rate
        self._traceback_words = traceback_words
        self._rated_cell = ""
        self._cells_without_binary: deque[str] = deque(maxlen=_MOST_CELLS)
        self._complained = False

    def forward(
        self,
        channel: str,
        frames: Sequence[Part],
        on_written: Callable[[], object] | None = None,
        *,
        kept: bool = False,
    ) -> bool:
        """Write a message of the kernel, or a sentence in its place.

        Args:
            frames: as the kernel sent them.
            on_written: called when it was written to the client's socket, or is not written at all.
            kept: whether it waited for the client, and so the rate does not count.

        Returns:
            whether the message's memory is accounted for by the outbox.
        """
        try:
            parts = message_parts(frames)
            if self.verifies and not is_signed(self._session, frames):
                raise ProtocolError("its signature is wrong")  # noqa: TRY301
        except ProtocolError as error:
            self._drop(error)
        else:
            if self._is_allowed(channel, parts, kept):
                return self.write(channel, parts, on_written)
        self._outbox.write((), binary=False, on_written=on_written)
        return True

    def write(
        self, channel: str, parts: Sequence[Part], on_written: Callable[[], object] | None = None
    ) -> bool:
        """Write a message, or what the client takes in its place.

        Returns:
            whether its memory is accounted for by the outbox.
        """
        most, whose, text_only = self._client_limit
        if text_only and len(parts) > _JSON_PARTS:
            self._replace_binary(channel, parts)
            self._outbox.write((), binary=False, on_written=on_written)
            return True
        accounted: bool | None
        try:
            message, binary = self._serialized(channel, parts)
        except ProtocolError as error:
            self.complain(error)
            self._replace(channel, parts, "malformed", f"it is malformed ({error}).")
            accounted = True
        else:
            if not most or sum(map(len, message)) <= most:
                return self._outbox.write(message, binary=binary, on_written=on_written)
            accounted = self._write_in_pieces(parts)
            if accounted is None:
                words = f"{whose} takes at most {megabytes(most)} at once."
                self._replace(channel, parts, "client_limit", words)
                accounted = True
        self._outbox.write((), binary=False, on_written=on_written)
        return accounted

    def _serialized(self, channel: str, parts: Sequence[Part]) -> tuple[Sequence[Part], bool]:
        if self._v1:
            return serialization.to_v1(channel, parts), True
        return serialization.to_json(channel, parts)

    def _write_own(self, channel: str, parts: Sequence[Part]) -> bool:
        """Write a message of our own, which is small enough for every client."""
        message, binary = self._serialized(channel, parts)
        return self._outbox.write(message, binary=binary)

    def say(self, text: str, parent: Mapping[str, Any]) -> None:
        """Write a sentence to the output of a cell, which is that of a parent header."""
        content = {"name": "stderr", "text": f"{text}\n"}
        self._write_own("iopub", packed(self._session, "stream", content, parent))

    def write_status(self, state: str, parent: Mapping[str, Any]) -> None:
        """Write an execution state."""
        self._write_own(
            "iopub", packed(self._session, "status", {"execution_state": state}, parent)
        )

    def answer(self, channel: str, kind: str, content: bytes, request: Mapping[str, Any]) -> None:
        """Write a reply of the given type in place of the kernel.

        Args:
            content: its content as JSON, which is small enough for every client.
            request: the header of the request.
        """
        self.write_status("busy", request)
        self._write_own(channel, [*packed(self._session, kind, {}, request)[:3], content])
        self.write_status("idle", request)

    def answer_with_error(
        self, channel: str, request: Mapping[str, Any], reason: str, *, shown: bool = True
    ) -> None:
        """End the cell of a request that the kernel does not get.

        Args:
            request: its header, which may be empty.
            shown: whether to write the reason to the output of the cell as well.
        """
        if shown:
            self.say(reason, request)
        kind = str(request.get("msg_type", ""))[:64]
        if kind.endswith("_request"):
            reply = f"{kind.removesuffix('request')}reply"
            self._write_own(channel, error_reply(self._session, reply, reason, request))
            self.write_status("idle", request)

    def abort(self, channel: str, request: Mapping[str, Any], reason: str) -> None:
        """End the cell of a request that was not sent, as kernels do with those that they skip."""
        self.say(reason, request)
        kind = str(request.get("msg_type", ""))[:64]
        if kind.endswith("_request"):
            reply = f"{kind.removesuffix('request')}reply"
            self._write_own(channel, packed(self._session, reply, {"status": "aborted"}, request))
        self.write_status("idle", request)

    def end_cell(
        self, request: Mapping[str, Any], reason: str, *, details: str, replies: bool
    ) -> None:
        """End the cell of a request that the kernel can no longer answer.

        A cell gets an error, and not only text in its output: papermill takes no other for a failure.

        Args:
            request: its header.
            details: lines that are shown as well.
            replies: whether the client may have sent the request.
        """
        content = error_content(reason, name="KernelDied", details=details)
        kind = request.get("msg_type", "")
        if kind == "execute_request":
            self._write_own("iopub", packed(self._session, "error", content, request))
        else:
            self.say("\n".join(filter(None, (reason, details))), request)
        if replies:
            reply = f"{kind.removesuffix('request')}reply"
            content = {"status": "error", **content}
            self._write_own("shell", packed(self._session, reply, content, request))
        self.write_status("idle", request)

    def complain(self, error: ProtocolError) -> bool:
        """Log the first message of the kernel that cannot be passed on; return whether it is the first."""
        if self._complained:
            return False
        self._complained = True
        _log.warning("Kernel %s sent a malformed message: %s", self._kernel_id, error)
        return True

    def _drop(self, error: ProtocolError) -> None:
        """Drop a message of which not even the cell is known; the first time, say so without a cell."""
        self.on_replaced("malformed")
        if self.complain(error):
            self.say(f"A malformed message of the kernel is not shown: {error}.", {})

    def _is_allowed(self, channel: str, parts: Sequence[Part], kept: bool) -> bool:
        """Return whether to write a message; if not, a sentence was written if it is needed."""
        if sum(map(len, parts)) > self._max_bytes:
            most = megabytes(self._max_bytes)
            advice = f"this gateway takes at most {most}. Ask {self._administrator} to raise "
            advice += "gateway.maxMessageBytes.fromKernel."
            self._replace(channel, parts, "too_large", advice)
            return False
        if channel != "iopub":
            return True
        if self._traceback_words and parsed_header(parts[0]).get("msg_type") == "error":
            words = self._traceback_words
            content = {"ename": "ExecutionError", "evalue": "Execution error", "traceback": [words]}
            self.write(channel, [*parts[:3], self._session.pack(content)])
            return False
        return not self._is_too_much(parts, kept)

    def _write_in_pieces(self, parts: Sequence[Part]) -> bool | None:
        """Write printed text as several messages.

        Returns:
            whether their memory is accounted for by the outbox; None if the message is another one.
        """
        if parsed_header(parts[0]).get("msg_type") != "stream":
            return None
        text = stream_text(parts[3])
        if text is None:
            return None
        parent = parsed_header(parts[1])
        accounted = True
        for piece in text.pieces():
            written = self._write_own("iopub", packed(self._session, "stream", piece, parent))
            accounted = accounted and written
        return accounted

    def _replace(self, channel: str, parts: Sequence[Part], reason: str, advice: str) -> None:
        """Write a sentence in place of a message."""
        self.on_replaced(reason)
        header, parent = parsed_header(parts[0]), parsed_header(parts[1])
        kind = str(header.get("msg_type", ""))[:64]
        words = f"A message of {megabytes(sum(map(len, parts)))} is not shown: {advice}"
        self.say(words, parent)
        self._answer_instead(channel, kind, words, parent)

    def _replace_binary(self, channel: str, parts: Sequence[Part]) -> None:
        """Write a sentence in place of a message with buffers: once to the output of each cell.

        Widgets send many such messages that do not belong to a cell.
        """
        self.on_replaced("client_limit")
        header, parent = parsed_header(parts[0]), parsed_header(parts[1])
        is_cell = parent.get("msg_type") == "execute_request"
        cell = str(parent.get("msg_id", ""))[:128] if is_cell else ""
        if cell not in self._cells_without_binary:
            self._cells_without_binary.append(cell)
            self.say(_NO_BINARY, parent)
        kind = str(header.get("msg_type", ""))[:64]
        self._answer_instead(channel, kind, _NO_BINARY, parent)

    def _answer_instead(
        self, channel: str, kind: str, words: str, parent: Mapping[str, Any]
    ) -> None:
        """Write what a cell waits for, in place of a message of this type."""
        if kind == "input_request":
            content = {"prompt": words, "password": False}
            self._write_own(channel, packed(self._session, kind, content, parent))
        elif channel != "iopub":
            self._write_own(channel, error_reply(self._session, kind, words, parent))

    def _is_too_much(self, parts: Sequence[Part], kept: bool) -> bool:
        """Return whether an output exceeds the rate that the administrator allows."""
        if not self._rate.is_limited:
            return False
        if not is_output(parts):
            kind = parsed_header(parts[0]).get("msg_type")
            if kind == "status" and parsed_header(parts[3]).get("execution_state") == "idle":
                self._rate.reset()
            return False
        if kept or not self._rate.exceeded(sum(map(len, parts))):
            return False
        self.on_replaced("rate")
        parent = parsed_header(parts[1])
        cell = str(parent.get("msg_id", ""))
        if cell != self._rated_cell:
            self._rated_cell = cell
            self.say(
                "This cell's output exceeds the rate that this gateway allows, and is not shown in full. "
                f"Print less, or ask {self._administrator} to raise gateway.outputRate.",
                parent,
            )
        return True
