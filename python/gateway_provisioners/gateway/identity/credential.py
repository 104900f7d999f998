"""The credential that a request shows."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import ssl
from dataclasses import dataclass, field
from functools import cached_property

from tornado.httputil import HTTPHeaders, HTTPServerRequest

AUTHORIZATION = "Authorization"
_SCHEMES = re.compile(r"(?:token|bearer)\s+(\S.*)", re.IGNORECASE)
# Longer ones are not looked at; a token with many groups in it has a few thousand characters.
_LONGEST = 16 * 1024
_DIGEST_KEY = os.urandom(32)


@dataclass(frozen=True)
class Credential:
    """All of a request that can show who sends it.

    Attributes:
        token: that of `?token=`, or else of the header for tokens; or "".
        headers: all headers of the request.
        certificate_names: the names in the client's certificate, which TLS has verified; else empty.
    """

    token: str = field(repr=False)
    headers: HTTPHeaders = field(repr=False, default_factory=HTTPHeaders)
    certificate_names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, request: HTTPServerRequest, header: str = AUTHORIZATION) -> Credential:
        """Return the credential of a request.

        Args:
            header: the header for tokens, which have the scheme `token` or `Bearer` before them. In another
                header than Authorization, they may come alone, as it has no other purpose.
        """
        return cls(
            token=_token(request, header),
            headers=request.headers,
            certificate_names=_certificate_names(request),
        )

    @cached_property
    def digest(self) -> bytes:
        """A keyed hash of the token, by which caches know it: they never hold the token itself."""
        return hmac.digest(_DIGEST_KEY, self.token.encode("utf-8", "replace"), hashlib.sha256)


def _token(request: HTTPServerRequest, header: str) -> str:
    if raw := request.query_arguments.get("token", [b""])[-1]:
        token = raw.decode("utf-8", "replace").strip()
    else:
        value = request.headers.get(header, "").strip()
        found = _SCHEMES.fullmatch(value)
        alone = "" if header.lower() == AUTHORIZATION.lower() else value
        token = found.group(1).strip() if found else alone
    return token if len(token) <= _LONGEST else ""


def _certificate_names(request: HTTPServerRequest) -> frozenset[str]:
    """Return the common names and the alternative names of the client's certificate."""
    stream = getattr(request.connection, "stream", None)
    if not isinstance(getattr(stream, "socket", None), ssl.SSLSocket):
        return frozenset()
    certificate = request.get_ssl_certificate() or {}
    assert isinstance(certificate, dict)  # noqa: S101 - only its binary form is not
    subject = certificate.get("subject", ())
    common = {value for part in subject for key, value in part if key == "commonName"}
    alternative = {value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES}
    return frozenset(common | alternative)


_NAMES = ("DNS", "URI", "email")
