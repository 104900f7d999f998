"""The authenticator: the first method that a credential fits decides who the client is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence

from tornado.httputil import HTTPServerRequest

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import (
    Identification,
    Identity,
    IdentityUnavailable,
    NotIdentified,
)
from gateway_provisioners.gateway.identity.methods.base import Method

_log = logging.getLogger(__name__)

_FAILED = "Your credential cannot be checked now: the gateway's log says why."
_UNKNOWN = "The token of this gateway is missing or wrong."
_ANYONE = Identity(name="", is_admin=True, method="none")


class Authenticator:
    """Identifies the clients of a gateway.

    Args:
        methods: those that are tried, by their order. Without one, every client is an administrator.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self._methods = sorted(methods, key=lambda method: (method.order, method.name))

    async def identify(self, shown: HTTPServerRequest | Credential) -> Identification:
        """Return who sends a request, or showed a credential earlier, or why that is not known."""
        try:
            credential = shown if isinstance(shown, Credential) else Credential.of(shown)
            return Identification(identity=await self._identify(credential))
        except GatewayProvisionersError as error:
            return Identification(error=error)
        except Exception as error:  # noqa: BLE001 - a client that is not identified is not let in
            # Not its message, which may quote the credential.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "A credential could not be checked: %s in %s, line %s.",
                type(error).__name__,
                frame.filename,
                frame.lineno,
            )
            return Identification(error=IdentityUnavailable(_FAILED))

    async def close(self) -> None:
        """Release the connections of all methods."""
        for method in self._methods:
            await method.close()

    async def _identify(self, credential: Credential) -> Identity:
        if not self._methods:
            return _ANYONE
        for method in self._methods:
            if method.fits(credential):
                return await method.identify(credential)
        raise NotIdentified(_UNKNOWN)
