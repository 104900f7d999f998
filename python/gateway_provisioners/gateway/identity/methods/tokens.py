"""The method `token`: tokens that the administrator has given out."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.identity.methods.base import Settings
from gateway_provisioners.gateway.identity.reloaded import Reloaded, files_of, folder_stamp

_log = logging.getLogger(__name__)

SHORTEST_TOKEN = 16
# A Secret holds 1 MiB in all.
MOST_FILES = 5000
LONGEST_FILE = 16 * 1024
_MOST_PROBLEMS = 10  # in one line of the log

_HASH = "sha256:"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_Moment: Any = Annotated[datetime, msgspec.Meta(tz=True)]
_FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")  # the keys of a Secret
_EXPIRED = "Your token has expired: ask an administrator for a new one."
_UNKNOWN = "The token of this gateway is missing or wrong."


class SharedToken:
    """The tokens of `gateway.auth.token`, whose holders are administrators without a name.

    Args:
        text: a token on each line, as in the files of `TokenMethod`. A line that is not of that form is a
            token as it stands, with its spaces, however short.
        clock: returns seconds since the epoch.
    """

    name = "token"
    order = 0

    def __init__(self, text: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._expiries = dict(map(_shared_token, filter(None, map(str.strip, text.splitlines()))))

    async def refresh(self) -> None: ...

    def fits(self, credential: Credential) -> bool:
        return _digest(credential.token) in self._expiries

    async def identify(self, credential: Credential) -> Identity:
        expires_at = self._expiries[_digest(credential.token)]
        _check_expiry(expires_at, self._clock)
        return Identity(name="", is_admin=True, method=self.name, expires_at=expires_at)

    async def close(self) -> None: ...


class TokenSettings(Settings, kw_only=True, frozen=True, tag_field="type", tag="token"):
    """The settings of a method of the type `token`.

    Attributes:
        tokens_folder: the folder with a file for each user, named for the user. Each line is
            `TOKEN [EXPIRY]`: the token, or `sha256:` and the hexadecimal hash of it; and when it expires, as
            a time of RFC 3339 or as a date, at the beginning of that day in UTC.
        role: admin: the holders of the tokens are administrators, and no particular users.
    """

    order: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10
    tokens_folder: Annotated[str, msgspec.Meta(pattern="^/")]
    role: Literal["user", "admin"] = "user"


class _Token(NamedTuple):
    user: str
    expires_at: float | None


class TokenMethod:
    """The tokens in a folder, which is read again when it changes. Only hashes of them stay in memory.

    What cannot be read or understood is logged and holds no token, so that a user who is removed has no
    access, and a mistake in one line concerns that line.

    Args:
        name: its name in the settings.
        settings: its settings.
        clock: returns seconds since the epoch.
        monotonic: returns seconds, which never go back.

    Raises:
        ConfigurationError: the folder is missing.
    """

    def __init__(
        self,
        name: str,
        settings: TokenSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.order = settings.order
        self._settings = settings
        self._clock = clock
        folder = Path(settings.tokens_folder)
        if not folder.is_dir():
            raise ConfigurationError(f"tokensFolder: the folder {folder} does not exist.")
        self._folder = Reloaded(
            lambda: folder_stamp(folder, MOST_FILES),
            lambda: _read_tokens(folder, settings.role),
            monotonic,
        )

    async def refresh(self) -> None:
        await self._folder.refresh()

    def fits(self, credential: Credential) -> bool:
        return _digest(credential.token) in self._folder.value

    async def identify(self, credential: Credential) -> Identity:
        token = self._folder.value.get(_digest(credential.token))
        if token is None:
            raise NotIdentified(_UNKNOWN)
        _check_expiry(token.expires_at, self._clock)
        if self._settings.role == "admin":
            return Identity(name="", is_admin=True, method=self.name, expires_at=token.expires_at)
        return self._settings.identity(self.name, token.user, expires_at=token.expires_at)

    async def close(self) -> None: ...


def _read_tokens(folder: Path, role: str) -> dict[bytes, _Token]:
    """Return the tokens in a folder by their hashes; log what is not accepted."""
    tokens: dict[bytes, _Token] = {}
    of_two_users: set[bytes] = set()
    problems: list[str] = []
    files = files_of(folder, MOST_FILES + 1)
    if not folder.is_dir():
        problems.append("the folder is missing")
    if len(files) > MOST_FILES:
        problems.append(f"the folder has more than {MOST_FILES} files")
    for path in files[:MOST_FILES]:
        for digest, token in _tokens_of(path, problems):
            other = tokens.setdefault(digest, token)
            if other.user != token.user and role == "user":
                problems.append(f"{other.user!r} and {token.user!r} have the same token")
                of_two_users.add(digest)
            tokens[digest] = min(other, token, key=_expiry_order)
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        _log.warning(
            "Not all tokens of %s are accepted: %s%s.",
            folder,
            "; ".join(problems[:_MOST_PROBLEMS]),
            f"; and {more} more" if more > 0 else "",
        )
    return {digest: token for digest, token in tokens.items() if digest not in of_two_users}


def _tokens_of(path: Path, problems: list[str]) -> Iterator[tuple[bytes, _Token]]:
    if not _FILE_NAME.fullmatch(path.name):
        problems.append(f"the file {path.name[:60]!r} does not have the name of a user")
        return
    try:
        lines = _content(path).splitlines()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        problems.append(f"the file {path.name!r} cannot be read: {cause}")
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                digest, expires_at = _parse(line)
            except ValueError as error:
                problems.append(f"line {number} of {path.name!r} {error}")
            else:
                yield digest, _Token(path.name, expires_at)


def _content(path: Path) -> str:
    if not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise ValueError(f"it is larger than {LONGEST_FILE} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None  # the error itself quotes the content


def _parse(line: str, shortest: int = SHORTEST_TOKEN) -> tuple[bytes, float | None]:
    """Return the hash and the expiry of `TOKEN [EXPIRY]`.

    Raises:
        ValueError: the rest of a sentence about the line, which does not quote it.
    """
    token, *rest = line.split()
    if len(rest) > 1:
        raise ValueError("must be a token, and at most an expiry after it")
    expires_at = _expiry(rest[0]) if rest else None
    if token.startswith(_HASH):
        if not _SHA256.fullmatch(token, len(_HASH)):
            raise ValueError(f"must have 64 hexadecimal digits after {_HASH}")
        return bytes.fromhex(token[len(_HASH) :]), expires_at
    if len(token) < shortest:
        raise ValueError(f"has a token of fewer than {shortest} characters")
    return _digest(token), expires_at


def _shared_token(line: str) -> tuple[bytes, float | None]:
    try:
        return _parse(line, shortest=1)
    except ValueError:
        return _digest(line), None


def _expiry(text: str) -> float:
    try:
        if "T" in text.upper():
            return float(msgspec.convert(text, _Moment).timestamp())
        day = msgspec.convert(text, date)
        return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
    except msgspec.ValidationError:
        # Not its text: a token may stand here by mistake.
        raise ValueError("must have an expiry such as 2027-01-31T12:00:00Z or 2027-01-31") from None


def _expiry_order(token: _Token) -> float:
    return float("inf") if token.expires_at is None else token.expires_at


def _check_expiry(expires_at: float | None, clock: Callable[[], float]) -> None:
    if expires_at is not None and expires_at <= clock():
        raise NotIdentified(_EXPIRED)


def _digest(token: str) -> bytes:
    # Of a hash, no character can be guessed by the time that a comparison takes.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
