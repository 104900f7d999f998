"""The method `header`: a proxy that has identified the user says who that is, and proves that it is one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import (
    Identity,
    IdentityUnavailable,
    NotIdentified,
)
from gateway_provisioners.gateway.identity.methods.base import Settings

_log = logging.getLogger(__name__)

_SHORTEST_SECRET = 16
_MOST_SECRETS = 100
_MAX_FILE_BYTES = 64 * 1024
# How soon a change of the file is noticed.
_CHECK_SECONDS = 1.0

HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}$")]


class HeaderSettings(Settings, frozen=True, tag="header"):
    """The settings of the method `header`.

    The proxy has to replace all these headers in what clients send. If both proofs are set, both are needed.

    Attributes:
        user_header: the header that names the user, in UTF-8.
        groups_header: the header that names the user's groups, separated by commas; it may be missing.
        secret_header: the header that holds the secret which the proxy shares with the gateway.
        secret_file: the file of that secret, of 16 or more characters; several lines are several secrets, for
            rotation without a gap. It is read again when it changes. Empty: no secret is asked for.
        certificate_names: the names of which the proxy's client certificate must have one; it needs
            `gateway.tls` with a CA for clients. Empty: no certificate is asked for.
    """

    user_header: HeaderName = "X-Forwarded-User"
    groups_header: HeaderName = "X-Forwarded-Groups"
    secret_header: HeaderName = "X-Gateway-Secret"  # noqa: S105 - the header's name
    secret_file: str = ""
    certificate_names: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()

    def __post_init__(self) -> None:
        """Check what concerns several settings.

        Raises:
            ValueError: msgspec makes it an error that names the place in the settings.
        """
        if not self.secret_file and not self.certificate_names:
            raise ValueError(
                "secretFile (in the chart: existingSecret) or certificateNames must be set, since any client "
                f"can send the header {self.user_header}"
            )
        names = (self.user_header, self.groups_header, self.secret_header)
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("userHeader, groupsHeader and secretHeader must be different headers")


class HeaderMethod:
    """Takes the user from a header, if the client proves that it is the proxy.

    Without an attempt at that, the header is ignored: other methods decide about the client.

    Args:
        name: the method's name in the settings.
        clock: seconds that only grow; tests give another one.

    Raises:
        ConfigurationError: the file of the secret cannot be used.
    """

    def __init__(
        self,
        name: str,
        settings: HeaderSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.order = 20 if settings.order is None else settings.order
        self._settings = settings
        self._certificate_names = frozenset(settings.certificate_names)
        self._secrets = (
            _Secrets(name, settings.secret_file, clock) if settings.secret_file else None
        )

    def fits(self, credential: Credential) -> bool:
        shows_secret = (
            self._secrets is not None and self._settings.secret_header in credential.headers
        )
        return shows_secret or self._has_certificate(credential)

    async def identify(self, credential: Credential) -> Identity:
        settings = self._settings
        if self._certificate_names and not self._has_certificate(credential):
            raise NotIdentified(
                f"The client's certificate has none of the names that the method {self.name!r} requires."
            )
        if self._secrets is not None and not await self._secrets.hold(
            self._one(credential, settings.secret_header)
        ):
            raise NotIdentified(
                f"The secret in the header {settings.secret_header} is wrong: the proxy must send the one "
                "that it shares with the gateway."
            )
        user = _text(self._one(credential, settings.user_header), settings.user_header)
        groups = frozenset[str]()
        if settings.groups_header in credential.headers:
            listed = _text(self._one(credential, settings.groups_header), settings.groups_header)
            groups = frozenset(group.strip() for group in listed.split(",")) - {""}
        return settings.identity(self.name, user, groups)

    async def close(self) -> None: ...

    def _has_certificate(self, credential: Credential) -> bool:
        return not self._certificate_names.isdisjoint(credential.certificate_names)

    @staticmethod
    def _one(credential: Credential, header: str) -> str:
        """Return the value of a header that must occur once: a second one may be the client's own."""
        values = credential.headers.get_list(header)
        if len(values) != 1:
            times = "is missing" if not values else f"occurs {len(values)} times"
            raise NotIdentified(
                f"The header {header} {times}: the proxy must set it, and remove those that clients send."
            )
        return values[0]


class _Secrets:
    """The secrets in a file, as hashes."""

    def __init__(self, method: str, file: str, clock: Callable[[], float]) -> None:
        self._method = method
        self._file = Path(file)
        self._clock = clock
        self._version = (0, 0, 0)
        self._hashes: list[bytes] = []
        try:
            self._read_again()
        except OSError as error:
            raise ConfigurationError(
                f"GP_AUTH_METHODS: secretFile of {method!r} cannot be read: {error.strerror}."
            ) from error
        except ValueError as error:
            raise ConfigurationError(
                f"GP_AUTH_METHODS: secretFile of {method!r} {error}."
            ) from error
        self._checked_at = clock()

    async def hold(self, secret: str) -> bool:
        """Return whether a secret is one of the file's.

        Raises:
            IdentityUnavailable: the file cannot be used any more.
        """
        if self._clock() >= self._checked_at + _CHECK_SECONDS:
            self._checked_at = self._clock()
            await self._check()
        if not self._hashes:
            raise IdentityUnavailable(
                "The gateway cannot read the secret that it shares with the proxy: its log says why."
            )
        shown = _hash(secret.encode("latin-1", "replace"))
        # All of them, so that the time of the answer does not say which one it was.
        return any([hmac.compare_digest(shown, hashed) for hashed in self._hashes])  # noqa: C419

    async def _check(self) -> None:
        try:
            if await asyncio.to_thread(self._read_again):
                _log.info("The secret of the method %s was read again.", self._method)
        except (OSError, ValueError) as error:
            # Secrets that were withdrawn must not go on.
            self._hashes, self._version = [], (0, 0, 0)
            why = error.strerror if isinstance(error, OSError) else error
            _log.error("secretFile of the method %s cannot be used: %s", self._method, why)

    def _read_again(self) -> bool:
        """Read the file if it has changed; return whether it has.

        Raises:
            OSError: it cannot be read.
            ValueError: it does not hold secrets; the message does not quote it.
        """
        status = self._file.stat()
        version = (status.st_mtime_ns, status.st_ino, status.st_size)
        if version == self._version:
            return False
        with self._file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
        secrets = [line.strip() for line in content.splitlines() if line.strip()]
        if len(content) > _MAX_FILE_BYTES or len(secrets) > _MOST_SECRETS:
            raise ValueError(f"must have at most {_MOST_SECRETS} lines and {_MAX_FILE_BYTES} bytes")
        if not secrets or min(map(len, secrets)) < _SHORTEST_SECRET:
            raise ValueError(
                f"must hold a secret of at least {_SHORTEST_SECRET} characters in each of its lines"
            )
        self._hashes, self._version = list(map(_hash, secrets)), version
        return True


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _text(value: str, header: str) -> str:
    """Return a header's value as the text that the proxy meant: tornado reads bytes as Latin-1."""
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeError:
        raise NotIdentified(f"The header {header} is not valid UTF-8.") from None
