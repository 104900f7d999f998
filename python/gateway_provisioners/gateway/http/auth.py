"""Authentication: clients need the token, and nothing else."""

from __future__ import annotations

import hmac

from jupyter_server.auth.identity import User
from kernel_gateway.auth.identity import GatewayIdentityProvider
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

_CLIENT = User("anonymous", "Anonymous", "Anonymous", "An")


class TokenIdentityProvider(GatewayIdentityProvider):
    """Compares the request's token with the gateway's in constant time; sets and reads no cookie."""

    def get_user(self, handler: RequestHandler) -> User | None:
        """Return the one user, or None if the request does not hold the token."""
        return _CLIENT if self.is_known(handler.request) else None

    def is_known(self, request: HTTPServerRequest) -> bool:
        """Return whether a request holds the token, or needs none."""
        if not self.auth_enabled:
            return True
        token = self._token_of(request)
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def get_token(self, handler: RequestHandler) -> str | None:
        """Return the request's token, or None if it has none."""
        return self._token_of(handler.request)

    def _token_of(self, request: HTTPServerRequest) -> str | None:
        """Return the token of `?token=`, else of the header `Authorization: token ...`, else None."""
        if token := request.query_arguments.get("token", [b""])[-1]:
            return token.decode("utf-8", "replace").strip()
        header = self.auth_header_pat.match(request.headers.get("Authorization", ""))
        return header.group(2) if header else None
