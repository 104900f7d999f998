"""Authentication: clients need the token, and nothing else."""

from __future__ import annotations

import hmac

from jupyter_server.auth.identity import User
from kernel_gateway.auth.identity import GatewayIdentityProvider
from tornado.web import RequestHandler

_CLIENT = User("anonymous", "Anonymous", "Anonymous", "An")


class TokenIdentityProvider(GatewayIdentityProvider):
    """Compares the request's token with the gateway's in constant time; sets and reads no cookie."""

    def get_user(self, handler: RequestHandler) -> User | None:
        """Return the one user, or None if the request does not hold the token."""
        if not self.auth_enabled:
            return _CLIENT
        token = self.get_token(handler)
        if token is None or not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        return _CLIENT

    def get_token(self, handler: RequestHandler) -> str | None:
        """Return the token of `?token=`, else of the header `Authorization: token ...`, else None."""
        if token := handler.get_query_argument("token", ""):
            return token
        header = self.auth_header_pat.match(handler.request.headers.get("Authorization", ""))
        return header.group(2) if header else None
