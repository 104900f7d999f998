"""Messages of a kernel without a mailbox, on their way to a client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.losses import Losses
from gateway_provisioners.gateway.websocket.messages import is_output, message_parts
from gateway_provisioners.gateway.websocket.outbox import Outbox
from gateway_provisioners.gateway.websocket.serialization import Part, parsed_header


class ChannelOutput:
    """Passes messages of the kernel's channels on, and drops output that cannot wait for the client.

    Args:
        writer: writes to the client.
        outbox: the writer's, where messages wait.
        max_unread_bytes: the most output that waits there.

    Attributes:
        losses: the output that was dropped and is not reported yet.
    """

    def __init__(self, writer: ClientWriter, outbox: Outbox, max_unread_bytes: int) -> None:
        self.losses = Losses()
        self._writer = writer
        self._outbox = outbox
        self._max_unread_bytes = max_unread_bytes
        self._misses_idle = False
        self._last_replied: Mapping[str, Any] = {}

    def forward(self, channel: str, frames: Sequence[Part]) -> bool:
        """Write a message; return False if it cannot wait and is too important to be dropped."""
        size = sum(map(len, frames))
        if not self._outbox.can_keep(size, self._max_unread_bytes):
            try:
                parts = message_parts(frames)
            except ProtocolError as error:
                self._writer.complain(error)
                self._writer.on_replaced("malformed")
                return True
            if channel == "iopub" and is_output(parts):
                self.losses.add(parts[1], size)
                self._writer.on_replaced("unread")
                return True
            if not self._outbox.can_keep(size, 2 * self._max_unread_bytes, urgent=True):
                return False
        else:
            self.report_losses()
        self._writer.forward(channel, frames)
        if channel == "iopub":
            self._misses_idle = False
        elif channel == "shell":
            self._note_reply(frames)
        return True

    def report_losses(self) -> None:
        """Say in each cell what was dropped of its output."""
        self.losses.report(self._writer.say, "the client reads too slowly.")

    def end_cell(self) -> None:
        """End the cell whose idle status may have been lost with a part of the output.

        The reply may come before or after the loss is noticed.
        """
        self._misses_idle = True
        self._write_idle()

    def _note_reply(self, frames: Sequence[Part]) -> None:
        try:
            self._last_replied = parsed_header(message_parts(frames)[1])
        except ProtocolError:
            return
        if self._misses_idle:
            self._write_idle()

    def _write_idle(self) -> None:
        self._writer.write_status("idle", self._last_replied)
