"""Sentences for the users of one kernel: for its clients at once, or for the next one that connects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

from gateway_provisioners.gateway.websocket.announcement import Announcement

_MOST_KEPT = 16
_MOST_KEPT_CHARACTERS = 64 * 1024
_MOST_CLIENTS = 64


class Client(Protocol):
    """A client's connection to the kernel."""

    session_key: str

    @property
    def has_full_access(self) -> bool: ...

    def is_asker(self, announcement: Announcement) -> bool:
        """Return whether the client may have sent the request that the announcement is about."""
        ...

    def show(self, announcement: Announcement) -> None: ...


class _Kept(NamedTuple):
    announcement: Announcement
    seen_by: Collection[str]


class Announcements:
    """The announcements of one kernel.

    Args:
        clients: returns the clients that are connected to this gateway.
        has_other_clients: returns whether clients are connected to other gateways, which make the same
            announcement.
    """

    def __init__(
        self, clients: Callable[[], Iterable[Client]], has_other_clients: Callable[[], bool]
    ) -> None:
        self._clients = clients
        self._has_other_clients = has_other_clients
        self._kept: deque[_Kept] = deque(maxlen=_MOST_KEPT)

    def announce(self, announcement: Announcement) -> None:
        """Show a sentence to each client; keep it if the client that it is meant for is away."""
        seen_by: list[str] = []
        is_seen = self._has_other_clients()
        for client in self._clients():
            if client.has_full_access:
                seen_by.append(client.session_key)
                is_seen = is_seen or client.is_asker(announcement)
            client.show(announcement)
        if not is_seen:
            # Without its request it must not end a cell of a later time.
            ends_cell = announcement.ends_cell and bool(announcement.request)
            self.keep(replace(announcement, ends_cell=ends_cell), seen_by)

    def keep(self, announcement: Announcement, seen_by: Collection[str] = ()) -> None:
        """Keep a sentence for the next client that connects.

        Args:
            seen_by: the sessions of clients that have seen it.
        """
        self._kept.append(_Kept(announcement, list(seen_by)[:_MOST_CLIENTS]))
        while sum(kept.announcement.size for kept in self._kept) > _MOST_KEPT_CHARACTERS:
            self._kept.popleft()

    def show_kept(self, client: Client) -> None:
        """Show to a client that has connected what was kept; the next one does not get it again."""
        if not client.has_full_access:
            return
        for kept in [each for each in self._kept if client.session_key not in each.seen_by]:
            self._kept.remove(kept)
            client.show(kept.announcement)

    def forget(self) -> None:
        """Forget what was kept; called when a client has connected to another gateway, and sees it there."""
        self._kept.clear()
