"""The authenticator: the first method that a credential fits decides who the client is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from tornado.httputil import HTTPServerRequest

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.gateway.identity.credential import AUTHORIZATION, Credential
from gateway_provisioners.gateway.identity.identity import (
    Identification,
    Identity,
    IdentityUnavailable,
    NotIdentified,
    TooManyAttempts,
)
from gateway_provisioners.gateway.identity.methods.base import Method
from gateway_provisioners.gateway.identity.throttle import Throttle

_log = logging.getLogger(__name__)

_FAILED = "Your credential cannot be checked now: the gateway's log says why."
_UNKNOWN = "The token of this gateway is missing or wrong."
_ANYONE = Identity(name="", is_admin=True, method="none")
# The name of the method in metrics if a credential fits none.
_NO_METHOD = "none"


class Authenticator:
    """Identifies the clients of a gateway.

    Args:
        methods: those that are tried, by their order. Without one, every client is an administrator.
        header: the header with the clients' tokens. No other one is read for them, so that a proxy may use
            Authorization for its own.

    Attributes:
        on_outcome: called with the name of a method and `accepted`, `rejected`, `unavailable` or `throttled`,
            for every credential.
    """

    def __init__(self, methods: Sequence[Method], header: str = AUTHORIZATION) -> None:
        self._header = header
        self._methods = sorted(methods, key=lambda method: (method.order, method.name))
        self._throttle = Throttle()
        self.on_outcome: Callable[[str, str], None] = lambda _method, _outcome: None

    async def identify(self, request: HTTPServerRequest) -> Identification:
        """Return who sends a request, or why that is not known."""
        credential = self.credential_of(request)
        return await self._identify(
            credential, self._throttle.attempt(str(request.remote_ip), credential)
        )

    def credential_of(self, request: HTTPServerRequest) -> Credential:
        """Return the credential that a request shows."""
        return Credential.of(request, self._header)

    async def identify_again(self, credential: Credential) -> Identification:
        """Return who it is that showed a credential earlier, or why that is not known any longer."""
        return await self._identify(credential, nullcontext())

    async def _identify(
        self, credential: Credential, attempt: AbstractContextManager[None]
    ) -> Identification:
        if not self._methods:
            return Identification(identity=_ANYONE)
        method = None
        try:
            method = await self._method_of(credential)
            if method is None and not credential.token:
                return Identification(error=NotIdentified(_UNKNOWN))
            with attempt:
                identity = await _identify(method, credential)
        except TooManyAttempts as error:
            # Not the method: that it fits may be what the client wants to find out.
            self.on_outcome(_NO_METHOD, "throttled")
            return Identification(error=error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - a client that is not identified is not let in
            known = _known(error)
            outcome = "rejected" if isinstance(known, NotIdentified) else "unavailable"
            self.on_outcome(method.name if method else _NO_METHOD, outcome)
            return Identification(error=known)
        self.on_outcome(identity.method, "accepted")
        return Identification(identity=identity)

    async def close(self) -> None:
        """Release the connections of all methods."""
        for method in self._methods:
            await method.close()

    async def _method_of(self, credential: Credential) -> Method | None:
        for method in self._methods:
            await method.refresh()
            if method.fits(credential):
                return method
        return None


async def _identify(method: Method | None, credential: Credential) -> Identity:
    if method is None:
        raise NotIdentified(_UNKNOWN)
    return await method.identify(credential)


def _known(error: Exception) -> GatewayProvisionersError:
    """Return an error for the client; log one that is unexpected."""
    if isinstance(error, GatewayProvisionersError):
        # The traceback would keep the error itself alive, until the garbage collector looks.
        return error.with_traceback(None)
    # Not its message, which may quote the credential.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _log.error(
        "A credential could not be checked: %s in %s, line %s.",
        type(error).__name__,
        frame.filename,
        frame.lineno,
    )
    return IdentityUnavailable(_FAILED)
