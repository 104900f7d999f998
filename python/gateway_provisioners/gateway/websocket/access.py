"""The access of a websocket's client to its kernel, and the name of its session there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any, Protocol, cast

from gateway_provisioners.model.ownership import Access, Ownership


class Client(Protocol):
    """The identity of a client, as far as its websocket needs it."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> Collection[str]: ...

    def access_to(self, ownership: Ownership) -> Access: ...


def access_of(client: Client | None, ownership: Ownership | None) -> Access:
    """Return what a client may do with a kernel; a stock Jupyter server knows no owners."""
    if client is None or ownership is None:
        return Access.OWNER
    return client.access_to(ownership)


def session_name(session_id: str, client: Client | None, ownership: Ownership | None) -> str:
    """Return the name of a client's session at jupyter_server and at the kernel's mailbox.

    Every client of a kernel sees the session ids of the others, in the headers of the messages that the
    kernel publishes, and who connects with a session id gets what is kept for it. So users who share a
    kernel with its owner have names of their own, which are the same at every gateway. The owner's session
    id stays as it is: mailboxes of kernels that earlier releases started know it.
    """
    if client is None or ownership is None or client.name in ("", ownership.owner):
        return session_id
    return hashlib.sha256(json.dumps([client.name, session_id]).encode()).hexdigest()


def client_of(handler: Any) -> Client | None:
    """Return the client of a websocket's handler; stock handlers know none."""
    return cast("Client | None", getattr(handler, "identity", None))


def ownership_of(kernel: Any) -> Ownership | None:
    """Return whose kernel it is; stock kernel managers do not know."""
    return cast("Ownership | None", getattr(kernel, "ownership", None))


def read_only_words(ownership: Ownership | None) -> str:
    """Return why a kernel takes nothing of a client that may only see it, and what to do."""
    owner = ownership.owner if ownership is not None else ""
    whose, whom = (f" of {owner}", "its owner") if owner else ("", "an administrator")
    return (
        f"This kernel{whose} is shared with you read-only: ask {whom} to share it with full access."
    )
