"""The keys by which an issuer's tokens are verified: fetched, kept and renewed."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.identity import IdentityUnavailable
from gateway_provisioners.model.proxies import proxy_for

_log = logging.getLogger(__name__)

# Keys are renewed in the background after the first time, and not used after the second.
RENEW_SECONDS = 10 * 60
OLDEST_SECONDS = 24 * 60 * 60
# The shortest time between two attempts to fetch keys, so that tokens with made-up keys cause no flood.
PAUSE_SECONDS = 30
# The same before the first keys.
FIRST_PAUSE_SECONDS = 5
_TIMEOUT_SECONDS = 10
_LARGEST_BODY = 256 * 1024
_MOST_KEYS = 100
_RSA_BITS = range(2048, 8192 + 1)

# Every algorithm by the type and the curve of its keys: public keys only, so that one can never be a secret.
_ALGORITHMS = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
ALGORITHMS = frozenset().union(*_ALGORITHMS.values())

Fetch = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Key:
    """A public key.

    Attributes:
        id: the key's `kid`, or "".
        algorithms: the algorithms that it may verify.
        public: the key of the library `cryptography`.
    """

    id: str
    algorithms: frozenset[str]
    public: Any


class Keys(Protocol):
    """An issuer's keys, of which it returns the same tuple until they change."""

    async def current(self) -> tuple[Key, ...]:
        """Return the keys.

        Raises:
            IdentityUnavailable: the issuer does not answer, and has not within the last 24 hours.
        """
        ...

    async def renewed(self) -> tuple[Key, ...]:
        """Return the keys after a token with an unknown key has come: fetched again if it is time.

        Raises:
            IdentityUnavailable: the issuer does not answer, so the key may be a new one.
        """
        ...

    async def close(self) -> None:
        """Stop fetching."""
        ...


class FixedKeys:
    """Keys that stand in the settings.

    Raises:
        ValueError: they are malformed.
    """

    def __init__(self, key_set: dict[str, Any]) -> None:
        entries = key_set.get("keys")
        if isinstance(entries, list) and any(
            isinstance(key, dict) and "d" in key for key in entries
        ):
            raise ValueError("it holds a private key; tokens are verified with public keys")
        self._keys = read_keys(msgspec.json.encode(key_set))

    async def current(self) -> tuple[Key, ...]:
        return self._keys

    async def renewed(self) -> tuple[Key, ...]:
        return self._keys

    async def close(self) -> None: ...


class FetchedKeys:
    """Keys that the issuer publishes.

    Args:
        method: the name of the method, for the log.
        fetch: returns a key set as JSON.
        clock: returns seconds, which never go back.
    """

    def __init__(
        self, method: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._method = method
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._body = b""
        self._fetched_at = 0.0
        self._next_at = clock()
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    async def current(self) -> tuple[Key, ...]:
        if not self._usable:
            await self._attempt()
            if not self._usable:
                raise self._unavailable()
        elif self._clock() >= self._fetched_at + RENEW_SECONDS:
            self._begin()
        return self._keys

    async def renewed(self) -> tuple[Key, ...]:
        await self._attempt()
        if self._failed:
            raise self._unavailable()
        return self._keys

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def _usable(self) -> bool:
        return bool(self._keys) and self._clock() < self._fetched_at + OLDEST_SECONDS

    def _begin(self) -> asyncio.Task[None] | None:
        """Return the attempt under way, or a new one if it is time; all callers share it."""
        if self._task is None and self._clock() >= self._next_at:
            self._task = asyncio.create_task(self._renew(), name=f"fetch keys for {self._method}")
        return self._task

    async def _attempt(self) -> None:
        if task := self._begin():
            await asyncio.wait({task})  # a caller that is cancelled does not cancel it

    async def _renew(self) -> None:
        try:
            body = await self._fetch()
            if body != self._body:
                self._keys, self._body = read_keys(body), body
            self._fetched_at = self._clock()
            self._failed = False
        except (
            aiohttp.ClientError,
            asyncio.TimeoutError,
            OSError,
            ValueError,
            ConfigurationError,
        ) as error:
            self._failed = True
            cause = str(error) or type(error).__name__
            if isinstance(error, aiohttp.ClientHttpProxyError):  # which quotes the proxy's password
                cause = f"the proxy answers with status {error.status}"
            _log.warning("The keys of the method %r cannot be fetched: %s.", self._method, cause)
        finally:
            self._next_at = self._clock() + (PAUSE_SECONDS if self._keys else FIRST_PAUSE_SECONDS)
            self._task = None

    def _unavailable(self) -> IdentityUnavailable:
        return IdentityUnavailable(
            "Your token cannot be checked now, as its issuer does not give its keys: try again later; the "
            f"gateway's log says why (method {self._method!r})."
        )


def from_url(url: str, *, ca_file: str = "", token_file: str = "") -> Fetch:
    """Return a function that fetches the key set at a URL.

    Args:
        url: the URL; `check_url` has accepted it.
        ca_file: the CA of the server's certificate; "": those of the system.
        token_file: the file with the token that the server wants, or "".
    """
    return lambda: _get(url, ca_file, token_file)


def from_issuer(issuer: str, *, ca_file: str = "") -> Fetch:
    """Return a function that fetches the key set that an issuer's discovery document names."""

    async def fetch() -> bytes:
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = _decode(await _get(url, ca_file), _Discovery)
        if document.issuer != issuer:
            raise ValueError(f"{url} names another issuer than {issuer}")
        try:
            check_url(document.jwks_uri)
        except ValueError as error:
            raise ValueError(f"the jwks_uri of {url}: {error}") from None
        return await _get(document.jwks_uri, ca_file)

    return fetch


def check_url(url: str) -> None:
    """Refuse a URL by which a third party on the way could change the keys.

    Raises:
        ValueError: it is such a URL, or malformed.
    """
    parts = urlsplit(url)
    if parts.username is not None or not parts.hostname:
        raise ValueError("a URL must have a host, and no user")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError("a URL must begin with https://")


def read_keys(body: bytes) -> tuple[Key, ...]:
    """Return the keys of a key set (RFC 7517) that can verify tokens; others are left out.

    Raises:
        ValueError: it has none, or is malformed.
    """
    entries = _decode(body, _KeySet).keys[:_MOST_KEYS]
    keys = tuple(key for key in map(_read_key, entries) if key is not None)
    if not keys:
        raise ValueError("it has no public key that can verify signatures")
    return keys


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[Any]


class _Parameters(msgspec.Struct):
    kty: str
    crv: str = ""
    kid: str = ""
    alg: str = ""
    use: str = "sig"
    key_ops: tuple[str, ...] = ("verify",)


def _read_key(entry: Any) -> Key | None:
    """Return the key, or None if it is not one that can verify tokens."""
    try:
        parameters = msgspec.convert(entry, _Parameters)
        algorithms = _ALGORITHMS[parameters.kty, parameters.crv]
        if parameters.alg:
            algorithms &= {parameters.alg}
        if not algorithms or parameters.use != "sig" or "verify" not in parameters.key_ops:
            return None
        if "d" in entry:
            _log.warning("A key set holds a private key, which everyone can read: it is not used.")
            return None
        public = jwt.PyJWK(entry, min(algorithms)).key
    except (KeyError, TypeError, ValueError, msgspec.ValidationError):
        return None
    except (jwt.PyJWTError, UnsupportedAlgorithm):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size not in _RSA_BITS:
        return None
    return Key(parameters.kid, algorithms, public)


T = TypeVar("T")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"it is malformed: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _get(url: str, ca_file: str = "", token_file: str = "") -> bytes:
    headers = {
        "Accept": "application/json, application/jwk-set+json",
        "Accept-Encoding": "identity",
    }
    if token_file:
        token = await asyncio.to_thread(Path(token_file).read_text, "ascii")
        headers["Authorization"] = f"Bearer {token.strip()}"
    # A server that wants a token is the API server of this cluster, which is never asked through a proxy.
    proxy = None if token_file else proxy_for(url, os.environ)
    # Read each time, as certificates are renewed.
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file or None)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
            auto_decompress=False,
        ) as session,
        session.get(url, headers=headers, allow_redirects=False, proxy=proxy) as response,
    ):
        if response.status != 200:
            raise ValueError(f"{url} answers with status {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_chunked(16 * 1024):
            body += chunk
            if len(body) > _LARGEST_BODY:
                raise ValueError(f"{url} answers with more than {_LARGEST_BODY} bytes")
        return bytes(body)
