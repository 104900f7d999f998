"""The gateway's own words to a client: announcements of its kernel, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_client.manager import KernelManager

from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.announcement import Announcement
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.losses import Losses, megabytes
from gateway_provisioners.gateway.websocket.requests import ClientRequests, short_header
from gateway_provisioners.model.ownership import Access


class Notices:
    """Writes sentences of the gateway to the output of the cells that they are about.

    Args:
        kernel: the kernel, which keeps announcements for clients that are away.
        writer: writes to the client.
        requests: the client's.
        limits: those of messages, and who may raise them.
        session_key: the client's, by which the kernel's announcements know it.
        session_id: what the client says that its session is; None for a Jupyter server with many clients.
        access: returns the client's rights to the kernel now.
        is_open: returns whether the client is connected.
        flush: writes what the kernel published before.
        on_replaced: called with a reason and a number when messages are lost.
    """

    def __init__(
        self,
        kernel: KernelManager,
        writer: ClientWriter,
        requests: ClientRequests,
        limits: Limits,
        *,
        session_key: str,
        session_id: str | None,
        access: Callable[[], Access],
        is_open: Callable[[], bool],
        flush: Callable[[], object],
        on_replaced: Callable[[str, int], object],
    ) -> None:
        self.session_key = session_key
        # Stock kernel managers have none.
        self._announcements: Any = getattr(kernel, "announcements", None)
        self._kernels: Any = kernel.parent
        self._writer = writer
        self._requests = requests
        self._limits = limits
        self._session_id = session_id
        self._access = access
        self._is_open = is_open
        self._flush = flush
        self._on_replaced = on_replaced

    # Announcements.

    @property
    def has_full_access(self) -> bool:
        """True if the client may use the kernel."""
        return self._access() >= Access.FULL

    def is_asker(self, announcement: Announcement) -> bool:
        """Return whether the client may have sent the request that the announcement is about."""
        request = announcement.request
        # A Jupyter server in front of the gateway connects without a session id.
        return (
            not request
            or not self._session_id
            or self._session_id == request.get("session")
            or request.get("msg_id", "") in self._requests.awaited
        )

    def show(self, announcement: Announcement) -> None:
        """Write a sentence of the gateway to the output of the cell that it is about."""
        if not self._is_open():
            return
        self._flush()
        awaited = self._requests.awaited
        request = announcement.request
        if announcement.ends_cell and not request:
            # The kernel may have ended before it published that it began.
            request = awaited.first
        may_see_log = self.has_full_access and self._kernels.allow_tracebacks
        log = announcement.log if may_see_log else ""
        if request and announcement.ends_cell:
            replies = self.has_full_access
            self._writer.end_cell(request, announcement.text, details=log, replies=replies)
            awaited.remove(request.get("msg_id"))
            for each in awaited.take_all():  # those that the kernel has not begun
                self._writer.answer_with_error("shell", each, announcement.text, shown=False)
        else:
            self._writer.say("\n".join(filter(None, (announcement.text, log))), request)

    def show_kept(self) -> None:
        """Show what was announced while no client was connected."""
        if self._announcements is not None and self._is_open():
            self._announcements.show_kept(self)

    # Losses.

    def keep_unread(self, size: int) -> None:
        """Say at the next connection that what waits for this client is lost: no mailbox keeps it."""
        if self._announcements is not None and self.has_full_access:
            text = (
                f"This client read too slowly and was disconnected: {megabytes(size)} of output, and perhaps "
                f"more, are lost."
            )
            self._announcements.keep(Announcement(text, short_header(self._requests.last)))

    def report_offline_losses(self, losses: Losses) -> None:
        """Say what jupyter_server did not keep while the client was away."""
        if self._is_open():
            self._on_replaced("unread", losses.messages)
            losses.report(self._writer.say, "no client was connected, and more came than is kept.")

    def report_dropped(self, count: int) -> None:
        """Say what the mailbox did not keep."""
        if self._is_open():
            self._on_replaced("unread", count)
            self._say(
                f"The kernel sent more than is kept for a client that is away or slow: {count} messages are "
                f"lost."
            )

    def report_cut(self, channel: str) -> None:
        """Say that a channel of the kernel was cut in a message that is too large."""
        self._on_replaced("too_large", 1)
        most = megabytes(self._limits.messages.from_kernel)
        self._say(
            f"The kernel sent a message that is larger than the {most} that this gateway takes, and perhaps "
            f"others, which are lost ({channel}). Ask {self._limits.administrator} to raise "
            f"gateway.maxMessageBytes.fromKernel."
        )

    def report_broken(self, reason: str) -> None:
        """Say why the gateway takes nothing more of the kernel."""
        self._say(f"The gateway has disconnected the kernel: {reason}. Restart the kernel.")

    def _say(self, text: str) -> None:
        self._writer.say(text, self._requests.last)
