"""The method `header`: a proxy that has identified the user says who that is, and proves that it is one."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.identity.methods.base import Settings
from gateway_provisioners.gateway.identity.reloaded import Reloaded, file_stamp

_SHORTEST_SECRET = 16
_MOST_SECRETS = 100
_LONGEST_FILE = 16 * 1024

HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}$")]


class HeaderSettings(Settings, frozen=True, tag="header"):
    """The settings of the method `header`.

    The proxy has to replace all these headers in what clients send. If both proofs are set, both are needed.

    Attributes:
        user_header: the header that names the user, in UTF-8.
        groups_header: the header that names the user's groups, separated by commas; it may be missing.
        secret_header: the header that holds the secret which the proxy shares with the gateway.
        secret_file: the file of that secret, of 16 or more characters; several lines are several secrets, for
            rotation without a gap. It is read again when it changes; if it cannot be used then, the previous
            secrets stay. Empty: no secret is asked for.
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
        file = Path(settings.secret_file)
        self._secrets = (
            Reloaded(lambda: file_stamp(file), lambda: _read_secrets(file), clock)
            if settings.secret_file
            else None
        )

    async def refresh(self) -> None:
        if self._secrets is not None:
            await self._secrets.refresh()

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
        if self._secrets is not None and not _holds(
            self._secrets.value, self._one(credential, settings.secret_header)
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


def _read_secrets(file: Path) -> tuple[bytes, ...]:
    """Return the hashes of the secrets in a file.

    Raises:
        ConfigurationError: it cannot be used; the message does not quote it.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"secretFile: {file} cannot be read: {error.strerror}.") from None
    secrets = [line.strip() for line in content.splitlines() if line.strip()]
    if len(content) > _LONGEST_FILE or len(secrets) > _MOST_SECRETS:
        raise ConfigurationError(
            f"secretFile: {file} must have at most {_MOST_SECRETS} lines and {_LONGEST_FILE} bytes."
        )
    if not secrets or min(map(len, secrets)) < _SHORTEST_SECRET:
        raise ConfigurationError(
            f"secretFile: {file} must hold a secret of at least {_SHORTEST_SECRET} characters in each line."
        )
    return tuple(map(_hash, secrets))


def _holds(hashes: tuple[bytes, ...], secret: str) -> bool:
    shown = _hash(secret.encode("latin-1", "replace"))
    # All of them, so that the time of the answer does not say which one it was.
    return any([hmac.compare_digest(shown, known) for known in hashes])  # noqa: C419


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _text(value: str, header: str) -> str:
    """Return a header's value as the text that the proxy meant: tornado reads bytes as Latin-1."""
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeError:
        raise NotIdentified(f"The header {header} is not valid UTF-8.") from None
