"""Answers of a gateway, and the lack of one, in words: for the user, never with a token, bounded."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from dataclasses import dataclass
from http.client import responses
from typing import Any

import aiohttp

from gateway_provisioners_client.errors import ClientError, GatewayRefused, GatewayUnreachable
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.words import clean, in_one_line

LARGEST_BODY = 16 * 1024 * 1024
LARGEST_LOGO = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """An answer of a gateway, as far as its words need it; the body comes beside it.

    Attributes:
        status: of HTTP.
        location: of a redirect; "" for others.
    """

    status: int
    method: str
    host: str
    path: str
    location: str = ""

    @classmethod
    def of(cls, response: aiohttp.ClientResponse) -> Answer:
        """Return what is known of a response."""
        url = response.url
        location = response.headers.get("Location", "")
        return cls(response.status, response.method, url.host or "", url.path, location)


async def body_of(response: aiohttp.ClientResponse, most: int = LARGEST_BODY) -> bytes:
    """Return an answer's body.

    Raises:
        GatewayRefused: it is larger than `most` bytes.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()
            raise GatewayRefused(
                f"The gateway {response.url.host} sent an answer of more than {most} bytes.",
                response.status,
            )
    return bytes(body)


def json_of(body: bytes, answer: Answer) -> Any:
    """Return the JSON of an answer.

    Raises:
        GatewayRefused: it is something else, such as the page of a proxy.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise not_a_gateway(answer) from None


def not_a_gateway(answer: Answer) -> GatewayRefused:
    """Return the error for an answer that no gateway gives."""
    return GatewayRefused(
        f"{answer.host} answers, but not as a Jupyter gateway does: {answer.path} is "
        "not what it should be. Check the URL with its base path: the page of a login, or a Jupyter server "
        "that uses a gateway itself, may be in between.",
        answer.status,
    )


def refusal(answer: Answer, body: bytes, place: str) -> GatewayRefused:
    """Return the error for an answer of status 300 or more.

    Args:
        place: where the token is, such as `the variable NAME`; "" without a token.
    """
    status, host = answer.status, answer.host
    message, reason = _said(body)
    if 300 <= status < 400:
        target = in_one_line(answer.location.partition("?")[0])
        return GatewayRefused(
            f"The gateway {host} redirects to {target}, which is not followed: the token is for the gateway "
            "only. Use the URL behind the redirect, or a token that the login page there accepts.",
            status,
        )
    if status == 401:
        words = (
            f"The gateway {host} does not accept the token in {place}. It may have expired: log in again."
            if place
            else f"The gateway {host} wants a token. Set JUPYTER_GATEWAY_AUTH_TOKEN, or name the variable, "
            "the file or the command that has it."
        )
        return GatewayRefused(f"{words}\n{message}".rstrip(), status, reason)
    phrase = responses.get(status, "")
    if message in {"", phrase}:
        message = f"The gateway {host} answered {status} {phrase} to {answer.method} {answer.path}."
        if status == 404 and answer.path.endswith("/api/kernelspecs"):
            message += " Check the URL: is its base path right?"
    return GatewayRefused(message, status, reason)


def unreachable(error: BaseException, config: GatewayConfig) -> ClientError:
    """Return the error for a request that got no answer."""
    if isinstance(error, ClientError):
        return error
    return GatewayUnreachable(_cause(error, config))


def _cause(error: BaseException, config: GatewayConfig) -> str:
    host = config.host
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            f"The certificate of {host} is not trusted: {_certificate_problem(error.certificate_error)}. "
            "Name the certificate of its authority with --ca-file, or ask your administrator for it."
        )
    if isinstance(error, (ssl.SSLError, aiohttp.ClientConnectorSSLError)):
        return f"{host} does not speak TLS as it should. Does its URL begin with http:// and not with https://?"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return (
            f"The proxy on the way to {host} cannot be reached: {_of_system(error)}. "
            "See HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return (
            f"The proxy on the way to {host} answered {error.status}. See HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"The name {host} is not known: check the gateway's URL, and your network or VPN."
    if isinstance(error, aiohttp.ClientConnectorError):
        return (
            f"Nothing answers at {host}: {_of_system(error)}. "
            "Check the gateway's URL, and your network or VPN."
        )
    if isinstance(error, asyncio.TimeoutError):
        return f"{host} did not answer in time. Check your network or VPN, or try again."
    return f"The connection to {host} was lost before an answer came. Try again."


def _certificate_problem(error: BaseException) -> str:
    words = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    return in_one_line(words, 300).rstrip(".") or "unknown reason"


def _of_system(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return (
        os.strerror(number) if number else in_one_line(error.os_error.strerror or "no connection")
    )


def _said(body: bytes) -> tuple[str, str]:
    """Return the message and the reason of an error in JSON, as Jupyter's servers send it."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(fields, dict):
        return "", ""
    return clean(fields.get("message")), in_one_line(fields.get("reason"), 64)
