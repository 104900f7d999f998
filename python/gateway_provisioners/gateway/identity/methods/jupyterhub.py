"""The method `jupyterhub`: tokens of a JupyterHub, which is asked about each of them."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import aiohttp
import msgspec
from cachetools import LRUCache

from gateway_provisioners.aio import within
from gateway_provisioners.errors import ConfigurationError, GatewayProvisionersError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import (
    Identity,
    IdentityUnavailable,
    NotIdentified,
)
from gateway_provisioners.gateway.identity.methods.base import Settings

_log = logging.getLogger(__name__)

KNOWN_SECONDS = 60.0
REFUSED_SECONDS = 5.0
# How long a token that the hub knew is good without the hub.
WITHOUT_HUB_SECONDS = 600.0
# The pause until the hub, which did not answer, is asked about the same token again.
_RETRY_SECONDS = 5.0
_TIMEOUT_SECONDS = 5.0

_MOST_TOKENS = 10_000
_MOST_CONNECTIONS = 16
# Tokens that are new get half of the connections: a flood of them leaves those to known users.
_MOST_STRANGERS = 8
_MOST_WAITING = 1000
_MAX_ANSWER_BYTES = 1024 * 1024

# Those that JupyterHub can issue or be given: it takes no shorter ones, and no whitespace.
_TOKEN = re.compile(r"[!-~]{8,1024}")
_JWT = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_USER = "USER"
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

Scope = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9:_-]*(![a-z]+=[^\s]+)?$")]


class JupyterHubSettings(Settings, frozen=True, tag="jupyterhub"):
    """The settings of the method `jupyterhub`.

    Administrators of the hub are not administrators of the gateway unless `admin_users` or `admin_groups`
    say so.

    Attributes:
        api_url: the URL of the hub's API as the gateway reaches it, such as http://hub:8081/hub/api.
        ca_file: certificates that may have signed the hub's; empty: those of the system.
        required_scopes: the scopes of the hub that a token must have, all of them. `USER` at the beginning
            of a filter's value is the user's name; such scopes are not required of services.
        services: the names of the hub's services that may use the gateway, as the user `service/NAME`.
    """

    api_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^/\s?#@]+(/[^\s?#]*)?$")]
    ca_file: str = ""
    required_scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)] = (
        f"access:servers!server={_USER}/",
    )
    services: tuple[str, ...] = ()


class _Model(msgspec.Struct):
    """The hub's answer: the owner of a token, and what the token may."""

    name: str
    kind: str
    # Hubs before 2.0 have none.
    scopes: list[str] = []
    groups: list[str] = []


@dataclass
class _Known:
    """A token that the hub has confirmed.

    Attributes:
        confirmed_at: when the hub was asked; the clock's seconds.
        ask_at: when it is asked again.
    """

    identity: Identity
    confirmed_at: float
    ask_at: float


_Outcome = Identity | GatewayProvisionersError


class JupyterHubMethod:
    """Asks the hub who owns a token, with that token: the gateway needs none of its own.

    Args:
        name: the method's name in the settings.
        clock: seconds that only grow; tests give another one.

    Raises:
        ConfigurationError: the CA file cannot be used.
    """

    def __init__(
        self,
        name: str,
        settings: JupyterHubSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.order = 40 if settings.order is None else settings.order
        self._settings = settings
        self._clock = clock
        self._ssl = _context(settings.ca_file)
        self._url = f"{settings.api_url.rstrip('/')}/user"
        self._session: aiohttp.ClientSession | None = None
        self._is_away = self._is_misplaced = False
        self._strangers = asyncio.Semaphore(_MOST_STRANGERS)
        self._known: LRUCache[bytes, _Known] = LRUCache(_MOST_TOKENS)
        self._refused: LRUCache[bytes, tuple[float, NotIdentified]] = LRUCache(_MOST_TOKENS)
        self._asking: dict[bytes, asyncio.Task[_Outcome]] = {}

    async def refresh(self) -> None: ...

    def fits(self, credential: Credential) -> bool:
        token = credential.token
        return bool(_TOKEN.fullmatch(token)) and not _JWT.fullmatch(token)

    async def identify(self, credential: Credential) -> Identity:
        digest, now = credential.digest, self._clock()
        known = self._known.get(digest)
        if known is not None and now < known.ask_at:
            return known.identity
        refused = self._refused.get(digest)
        if refused is not None and now < refused[0]:
            raise NotIdentified(str(refused[1]))
        # Shielded: others may wait for the same answer when this client goes away.
        outcome = await asyncio.shield(self._ask_once(credential, is_known=known is not None))
        if isinstance(outcome, Identity):
            return outcome
        if known is None or not isinstance(outcome, IdentityUnavailable):
            raise type(outcome)(str(outcome))
        return self._without_hub(known, outcome)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _without_hub(self, known: _Known, error: IdentityUnavailable) -> Identity:
        now = self._clock()
        if now >= known.confirmed_at + WITHOUT_HUB_SECONDS:
            raise IdentityUnavailable(str(error))
        known.ask_at = now + _RETRY_SECONDS
        return known.identity

    def _ask_once(self, credential: Credential, *, is_known: bool) -> asyncio.Task[_Outcome]:
        """Return the request about a token that is under way, or begin one.

        Raises:
            IdentityUnavailable: too many are under way.
        """
        digest = credential.digest
        if (task := self._asking.get(digest)) is None:
            # Known tokens are as many as the cache holds, at most.
            if not is_known and len(self._asking) >= _MOST_WAITING:
                raise IdentityUnavailable(
                    "Too many tokens wait for the JupyterHub's answer: try again in a few seconds."
                )
            task = asyncio.create_task(self._outcome(credential, is_known=is_known))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return task

    async def _outcome(self, credential: Credential, *, is_known: bool) -> _Outcome:
        """Ask the hub about a token, and remember its answer."""
        digest, now = credential.digest, self._clock()
        try:
            identity = self._identity(await self._answer(credential.token, is_known=is_known))
        except NotIdentified as error:
            self._known.pop(digest, None)
            self._refused[digest] = (now + REFUSED_SECONDS, error)
            return error
        except IdentityUnavailable as error:
            return error
        self._refused.pop(digest, None)
        self._known[digest] = _Known(identity, now, now + KNOWN_SECONDS)
        return identity

    def _identity(self, model: _Model) -> Identity:
        if (
            not model.name or "/" in model.name
        ):  # a user `service/NAME` would be taken for a service
            raise NotIdentified(
                "The JupyterHub knows this token, but names no user who can be one here."
            )
        scopes = [_Filtered.of(scope) for scope in model.scopes]
        is_service = model.kind == "service"
        if is_service and model.name not in self._settings.services:
            raise NotIdentified(
                f"The JupyterHub's service {_shown(model.name)} may not use the gateway. An administrator "
                f"can add it to the services of the method {self.name!r}."
            )
        if not is_service and model.kind != "user":
            raise NotIdentified(
                "The JupyterHub knows this token, but it is neither a user's nor a service's."
            )
        for required in self._settings.required_scopes:
            if is_service and _Filtered.of(required).is_of_user:
                continue
            wanted = _Filtered.of(required, user=model.name)
            if not any(scope.covers(wanted) for scope in scopes):
                raise NotIdentified(
                    "This token of the JupyterHub lacks a scope that the gateway requires: use that of a "
                    f"server of your own, or one with {required!r} for the user {_shown(model.name)}."
                )
        user = f"service/{model.name}" if is_service else model.name
        return self._settings.identity(self.name, user, frozenset(model.groups))

    async def _answer(self, token: str, *, is_known: bool) -> _Model:
        """Return the hub's answer about a token.

        Raises:
            NotIdentified: the hub does not know the token.
            IdentityUnavailable: the hub does not answer, or not as a hub does.
        """
        try:
            if is_known:
                status, body = await within(_TIMEOUT_SECONDS, self._get(token))
            else:
                status, body = await within(_TIMEOUT_SECONDS, self._get_as_stranger(token))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            # Not its message, which may quote the request.
            raise self._unavailable(type(error).__name__) from None
        if status in _REFUSALS:
            self._answers()
            if status == HTTPStatus.NOT_FOUND and not self._is_misplaced:
                self._is_misplaced = True
                _log.warning(
                    "The JupyterHub of the method %s answered 404: check that apiUrl ends in /hub/api.",
                    self.name,
                )
            raise NotIdentified(
                "The JupyterHub does not know this token: it is wrong, expired or revoked."
            )
        if status != HTTPStatus.OK:
            raise self._unavailable(f"status {status}")
        try:
            model = msgspec.json.decode(body, type=_Model)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise self._unavailable("an answer that is not a JupyterHub's") from None
        self._answers()
        return model

    def _answers(self) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("The JupyterHub of the method %s answers again.", self.name)

    def _unavailable(self, why: str) -> IdentityUnavailable:
        if not self._is_away:  # not for each request: unknown clients can send many
            self._is_away = True
            _log.warning(
                "The JupyterHub of the method %s cannot be asked about tokens (%s). Those that it knew are "
                "good for another %.0f minutes at most.",
                self.name,
                why,
                WITHOUT_HUB_SECONDS / 60,
            )
        return IdentityUnavailable(
            "The JupyterHub does not answer, so your credential cannot be checked now. Try again in a few "
            "seconds."
        )

    async def _get_as_stranger(self, token: str) -> tuple[int, bytes]:
        async with self._strangers:
            return await self._get(token)

    async def _get(self, token: str) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, ssl=self._ssl),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
                auto_decompress=False,
            )
        headers = {"Authorization": f"token {token}", "Accept-Encoding": "identity"}
        # A redirect could lead the token to another host.
        async with self._session.get(self._url, headers=headers, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError
            return response.status, bytes(body)


@dataclass(frozen=True)
class _Filtered:
    """A scope of JupyterHub: its name, and the filter that narrows it to one user, server, service or group.

    Attributes:
        kind: user, server, service or group; "" without a filter.
        value: the name of that one; a server's is USER/SERVER, and USER/ of the default server.
        is_of_user: whether the value begins with the placeholder for the user's name.
    """

    scope: str
    kind: str
    value: str
    is_of_user: bool = False

    @classmethod
    def of(cls, text: str, user: str | None = None) -> _Filtered:
        """Read a scope as JupyterHub does: names in it may hold `!` and `=`.

        Args:
            user: replaces USER at the beginning of the value.
        """
        scope, _, narrowed = text.partition("!")
        kind, _, value = narrowed.partition("=")
        first, slash, rest = value.partition("/")
        is_of_user = first == _USER
        if is_of_user and user is not None:
            value = f"{user}{slash}{rest}"
        return cls(scope, kind, value, is_of_user)

    def covers(self, wanted: _Filtered) -> bool:
        """Return whether a token with this scope has the wanted one.

        `access:servers!server=alice/` is wanted for any server of alice: her named servers have it as well.
        """
        if self.scope != wanted.scope:
            return False
        if not self.kind:
            return True
        if (self.kind, self.value) == (wanted.kind, wanted.value):
            return True
        if wanted.kind != "server":
            return False
        owner, slash, server = wanted.value.partition("/")
        if self.kind == "user":
            return self.value == owner
        own, own_slash, _ = self.value.partition("/")
        return self.kind == "server" and bool(slash and own_slash) and not server and own == owner


def _context(ca_file: str) -> ssl.SSLContext | bool:
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else True
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"caFile: {ca_file} cannot be used: {error}.") from None


def _shown(name: str) -> str:
    return repr(name[:100])
