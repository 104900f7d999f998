"""The identity of a client, and the errors of one that has none."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.model.ownership import Access, Ownership


class NotIdentified(GatewayProvisionersError):
    """The client shows no credential, or one that is wrong, expired or revoked.

    The message never quotes the credential.

    Attributes:
        is_attempt: whether a credential was shown that counts as one more attempt of its address; there are
            few of them, see `Throttle`.
    """

    reason = "Unauthorized"
    http_status = 401
    is_attempt = False


class IdentityUnavailable(GatewayProvisionersError):
    """The service that knows the credential does not answer, so it cannot be checked now."""

    reason = "IdentityUnavailable"
    http_status = 503
    retry_after = 5


class TooManyAttempts(GatewayProvisionersError):
    """Too many wrong credentials came from the client's address; this one was not looked at.

    Args:
        seconds: after which the next one will be.
    """

    reason = "TooManyAttempts"
    http_status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many wrong credentials came from your address; try again in {seconds} s."
        )
        self.retry_after = seconds


@dataclass(frozen=True)
class Identity:
    """A client whose credential was checked.

    Attributes:
        name: the user's name; "" for an administrator without one, such as a holder of the shared token.
        groups: the user's groups.
        is_admin: whether all kernels are the client's.
        method: the name of the method that identified the client.
        expires_at: when the credential expires, in seconds since the epoch; None: never, as far as known.
    """

    name: str
    groups: frozenset[str] = frozenset()
    is_admin: bool = False
    method: str = "token"
    expires_at: float | None = None

    def access_to(self, ownership: Ownership) -> Access:
        """Return what the client may do with a kernel."""
        return Access.OWNER if self.is_admin else ownership.access_of(self.name, self.groups)


@dataclass(frozen=True)
class Identification:
    """The outcome of looking at a request's credential: one of the two, or none if it was not looked at.

    Attributes:
        identity: the client's identity.
        error: why it has none.
    """

    identity: Identity | None = None
    error: GatewayProvisionersError | None = None


UNKNOWN = Identification()
