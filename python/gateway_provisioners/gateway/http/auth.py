"""jupyter_server's view of who a client is."""

from __future__ import annotations

from typing import cast

from jupyter_server.auth.identity import User
from kernel_gateway.auth.identity import GatewayIdentityProvider
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from gateway_provisioners.gateway.http.answers import Answer
from gateway_provisioners.gateway.identity.identity import Identification, Identity


def identification_of(request: HTTPServerRequest) -> Identification:
    """Return who sends a request, as the server found out before it let the request in."""
    return cast(Answer, request.connection).identification


class RequestIdentityProvider(GatewayIdentityProvider):
    """Gives jupyter_server's handlers the user of a request; sets and reads no cookie."""

    def get_user(self, handler: RequestHandler) -> User | None:
        """Return the user of a request, or None if it shows no credential."""
        identity = identification_of(handler.request).identity
        return None if identity is None else _user(identity)


def _user(identity: Identity) -> User:
    name = identity.name or "anonymous"
    return User(username=name, name=name, display_name=name, initials=name[:2])
