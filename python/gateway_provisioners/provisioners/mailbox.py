"""The mailbox of a kernel's launcher, as a gateway attaches to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_provisioners.handshake.payload import mailbox_key
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.features import FRESH_KEY


@dataclass(frozen=True)
class MailboxEndpoint:
    """A launcher's mailbox.

    Attributes:
        port: at the kernel's address.
        key: signs attachments.
    """

    port: int
    key: bytes = field(repr=False)

    @classmethod
    def of(
        cls, connection: ConnectionInfo, *, secret: str | None, kernel_id: str
    ) -> MailboxEndpoint | None:
        """Return the mailbox of a kernel, or None if its launcher has none.

        Args:
            secret: the key in force since the launcher's report.
        """
        if connection.mailbox_port is None:
            return None
        if FRESH_KEY in connection.features and secret is not None:
            return cls(connection.mailbox_port, mailbox_key(secret, kernel_id))
        return cls(connection.mailbox_port, connection.key.encode())
