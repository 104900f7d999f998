"""The method `jwt`: signed tokens of an issuer, such as an OpenID provider or a Kubernetes cluster."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import jwt
import msgspec
from cachetools import LRUCache

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.identity.methods.base import Settings
from gateway_provisioners.gateway.identity.methods.key_set import (
    ALGORITHMS,
    FetchedKeys,
    FixedKeys,
    Key,
    Keys,
    check_url,
    from_issuer,
    from_url,
)

T = TypeVar("T")

_MOST_CACHED = 1000
_SHAPE = re.compile(r"([\w-]+)\.([\w-]+)\.[\w-]*", re.ASCII)

# By a default binding of Kubernetes, every service account may read them.
CLUSTER_KEYS_URL = "https://kubernetes.default.svc/openid/v1/jwks"
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CLUSTER_CA_FILE = f"{_SERVICE_ACCOUNT}/ca.crt"
CLUSTER_TOKEN_FILE = f"{_SERVICE_ACCOUNT}/token"

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1)]
_Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class JwtSettings(Settings, kw_only=True, frozen=True, tag_field="type", tag="jwt"):
    """The settings of a method of the type `jwt`.

    Attributes:
        issuer: the tokens' `iss`, exactly.
        audience: the tokens' `aud` must hold one of these.
        jwks_url: the URL of the issuer's keys; "": that of the issuer's discovery document.
        jwks: the issuer's keys themselves.
        cluster_keys: take the keys of the Kubernetes cluster that the gateway runs in.
        ca_file: the CA of the issuer's certificate; "": those of the system.
        username_claim: the claim with the user's name, or the path to it.
        groups_claim: the claim with the user's groups, or the path to it; it may be absent.
        leeway_seconds: the largest difference between the clocks of the issuer and the gateway.
        algorithms: the algorithms of signatures that are accepted.
    """

    order: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 30
    issuer: _Text
    audience: _Text | _Texts
    jwks_url: str = ""
    jwks: dict[str, Any] | None = None
    cluster_keys: bool = False
    ca_file: str = ""
    username_claim: _Text | _Texts = "sub"
    groups_claim: _Text | _Texts = "groups"
    leeway_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30
    algorithms: Annotated[list[_Algorithm], msgspec.Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        if bool(self.jwks_url) + (self.jwks is not None) + self.cluster_keys > 1:
            raise ValueError("jwksUrl, jwks and clusterKeys exclude each other: set one of them")
        if self.jwks is None and not self.cluster_keys:
            field = "jwksUrl" if self.jwks_url else "issuer"
            try:
                check_url(self.jwks_url or self.issuer)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None


class JwtMethod:
    """Signed tokens (RFC 7519) of one issuer.

    Every client can make up such tokens, so nothing in them is believed before their signature is verified,
    by a key of the issuer and an algorithm of that key; only the issuer is read before, to find the method.
    Headers that bring a key of their own or point to one are not looked at.

    Args:
        name: its name in the settings.
        settings: its settings.
        clock: returns seconds since the epoch.
        keys: the issuer's keys, if not those that the settings name.

    Raises:
        ConfigurationError: the keys in the settings are malformed.
    """

    def __init__(
        self,
        name: str,
        settings: JwtSettings,
        clock: Callable[[], float] = time.time,
        keys: Keys | None = None,
    ) -> None:
        self.name = name
        self.order = settings.order
        self._settings = settings
        self._clock = clock
        self._keys = keys or _keys(name, settings)
        self._audience = _list(settings.audience)
        self._algorithms = frozenset(settings.algorithms or ALGORITHMS)
        self._signatures = jwt.PyJWS(algorithms=sorted(self._algorithms))
        # By the hash of the token; only for the keys that they were verified by.
        self._verified: LRUCache[bytes, Identity] = LRUCache(_MOST_CACHED)
        self._verified_by: tuple[Key, ...] = ()

    async def refresh(self) -> None: ...

    def fits(self, credential: Credential) -> bool:
        if not (found := _SHAPE.fullmatch(credential.token)):
            return False
        try:
            return _decode(found[2], _Issuer).iss == self._settings.issuer
        except ValueError:
            return False

    async def identify(self, credential: Credential) -> Identity:
        keys = await self._keys.current()
        if identity := self._known(credential, keys):
            return identity
        token = credential.token
        header = self._header(token)
        payload = self._payload(token, header, keys)
        if payload is None:
            keys = await self._keys.renewed()
            payload = self._payload(token, header, keys)
        if payload is None:
            raise NotIdentified(
                "The token's signature is not by a key of its issuer: sign in again to get a new token."
            )
        identity = self._identity(payload)
        self._remember(credential, keys, identity)
        return identity

    async def close(self) -> None:
        await self._keys.close()

    def _known(self, credential: Credential, keys: tuple[Key, ...]) -> Identity | None:
        if keys is not self._verified_by:
            self._verified.clear()
            self._verified_by = keys
        identity = self._verified.get(credential.digest)
        if identity is None or (identity.expires_at or 0) <= self._clock():
            return None
        return identity

    def _remember(self, credential: Credential, keys: tuple[Key, ...], identity: Identity) -> None:
        self._known(credential, keys)  # forgets those of other keys
        self._verified[credential.digest] = identity

    def _header(self, token: str) -> _Header:
        found = _SHAPE.fullmatch(token)
        try:
            header = _decode(found[1] if found else "", _Header)
        except ValueError as error:
            raise NotIdentified(f"The token's header is malformed: {error}.") from None
        if header.alg not in self._algorithms:
            raise NotIdentified(
                f"The token's signature must be one of: {', '.join(sorted(self._algorithms))}."
            )
        if header.crit is not msgspec.UNSET:
            raise NotIdentified(
                "The token's header asks for an extension (crit): none is supported."
            )
        return header

    def _payload(self, token: str, header: _Header, keys: tuple[Key, ...]) -> bytes | None:
        """Return the payload of a token that one of the keys verifies; None if none of them does."""
        candidates = [key for key in keys if header.kid in ("", key.id)]
        fitting = [key for key in candidates if header.alg in key.algorithms]
        if header.kid and candidates and not fitting:
            raise NotIdentified("The token's algorithm is not one of its key.")
        for key in fitting:
            try:
                verified = self._signatures.decode_complete(
                    token, key.public, algorithms=[header.alg]
                )
            except jwt.InvalidSignatureError:
                if header.kid:
                    raise NotIdentified("The token's signature is wrong.") from None
            except jwt.PyJWTError:
                raise NotIdentified("The token is malformed.") from None
            else:
                payload: bytes = verified["payload"]
                return payload
        return None

    def _identity(self, payload: bytes) -> Identity:
        settings = self._settings
        try:
            claims = _parse(payload, _Claims)
            everything = _parse(payload, dict[str, Any])
        except ValueError as error:
            raise NotIdentified(f"The token's claims are malformed: {error}.") from None
        expires_at = claims.exp + settings.leeway_seconds
        latest = self._clock() + settings.leeway_seconds
        if claims.iss != settings.issuer:
            raise NotIdentified("The token is of another issuer.")
        if set(_list(claims.aud)).isdisjoint(self._audience):
            raise NotIdentified(
                "The token is for another audience: this gateway takes those for "
                f"{' or '.join(map(repr, self._audience))}."
            )
        if expires_at <= self._clock():
            raise NotIdentified("The token has expired: sign in again to get a new one.")
        if max(claims.nbf, claims.iat) > latest:
            raise NotIdentified("The token is not valid yet: its issuer's clock may be ahead.")
        return settings.identity(
            self.name, self._user(everything), self._groups(everything), expires_at=expires_at
        )

    def _user(self, claims: dict[str, Any]) -> str:
        path = _list(self._settings.username_claim)
        user = _at(claims, path)
        if not isinstance(user, str):
            raise NotIdentified(
                f"The token must have the user's name in its claim {'.'.join(path)!r}."
            )
        if path == ["email"] and claims.get("email_verified", True) is not True:
            raise NotIdentified("The token's email address is not verified by its issuer.")
        return user

    def _groups(self, claims: dict[str, Any]) -> frozenset[str]:
        path = _list(self._settings.groups_claim)
        groups = _at(claims, path)
        if groups is None:
            return frozenset()
        if isinstance(groups, str):
            return frozenset({groups})
        if isinstance(groups, list) and all(isinstance(group, str) for group in groups):
            return frozenset(groups)
        raise NotIdentified(f"The token's claim {'.'.join(path)!r} must be a list of groups.")


# Of bounded size, and not a number that only Python can hold.
_Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class _Issuer(msgspec.Struct):
    iss: str


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = msgspec.UNSET


class _Claims(msgspec.Struct):
    iss: str
    aud: str | list[str]
    exp: _Time
    nbf: _Time = 0
    iat: _Time = 0


def _keys(name: str, settings: JwtSettings) -> Keys:
    if settings.jwks is not None:
        try:
            return FixedKeys(settings.jwks)
        except ValueError as error:
            raise ConfigurationError(f"jwks: {error}") from None
    if settings.cluster_keys:
        fetch = from_url(
            CLUSTER_KEYS_URL,
            ca_file=settings.ca_file or CLUSTER_CA_FILE,
            token_file=CLUSTER_TOKEN_FILE,
        )
    elif settings.jwks_url:
        fetch = from_url(settings.jwks_url, ca_file=settings.ca_file)
    else:
        fetch = from_issuer(settings.issuer, ca_file=settings.ca_file)
    return FetchedKeys(name, fetch)


def _decode(part: str, kind: type[T]) -> T:
    """Return the JSON of a part of a token.

    Raises:
        ValueError: it is malformed; the message does not quote it.
    """
    try:
        return _parse(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_"), kind)
    except binascii.Error:
        raise ValueError("it is not base64") from None


def _parse(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _at(claims: Any, path: Sequence[str]) -> Any:
    """Return the claim at the end of a path of keys; None if it is absent."""
    for key in path:
        if not isinstance(claims, dict):
            return None
        claims = claims.get(key)
    return claims
