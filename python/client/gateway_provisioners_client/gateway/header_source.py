"""The headers that show who the user is: read, or made by a command, in the thread that asks.

The token is kept in memory only, and no message has any of it. No asyncio here: the kernel program needs
these headers before it has loaded anything else.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway_provisioners_client.errors import ConfigurationError, CredentialError
from gateway_provisioners_client.gateway import checks, defaults
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.token_commands import output_of

LONGEST_TOKEN = 64 * 1024
# The token of a command is renewed so many seconds before it expires: clocks differ, and requests take time.
_MARGIN = 30.0
# A command is not run again earlier, whatever it says about expiry and however often the gateway refuses.
_SHORTEST = 5.0
_TOKEN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class HeaderSource:
    """The user's credential for one gateway, read or made again as it expires; for any thread.

    Args:
        clock: the time now, in seconds since 1970.
    """

    def __init__(self, config: GatewayConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()  # one command at a time
        self._token = ""
        self._made_at = float("-inf")
        self._until = float("-inf")

    @property
    def place(self) -> str:
        """The place of the token, for messages, such as `the variable NAME`; "" without a token."""
        if self._config.token_file:
            return f"the file {self._config.token_file}"
        if self._config.token_command:  # its arguments may be secret
            return f"the command {self._config.token_command[0]}"
        variable = self._config.token_variable or defaults.TOKEN_VARIABLE
        return (
            f"the variable {variable}"
            if self._config.token_variable or os.environ.get(variable)
            else ""
        )

    @property
    def blocks(self) -> bool:
        """True if `headers` may take a while: a file or a command has the token."""
        return bool(self._config.token_file or self._config.token_command)

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request; blocks while a file is read or a command runs.

        Raises:
            CredentialError: there is no token where it should be, or the command failed.
        """
        headers = {**self._config.headers, **self._secret_headers()}
        if token := self._current():
            scheme = self._config.auth_scheme
            headers[self._config.auth_header] = f"{scheme} {token}" if scheme else token
        return headers

    def invalidate(self) -> None:
        """Run the command again before the next request; a variable and a file are read each time anyway."""
        if self._clock() - self._made_at >= _SHORTEST:
            self._until = float("-inf")

    def _current(self) -> str:
        if self._config.token_command:
            with self._lock:
                if not self._made_at <= self._clock() < self._until:  # the clock may be set back
                    self._make(self._config.token_command)
                return self._token
        if self._config.token_file:
            return _token_in(self._config.token_file)
        variable = self._config.token_variable or defaults.TOKEN_VARIABLE
        token = os.environ.get(variable, "").strip()
        if not token and self._config.token_variable:
            raise CredentialError(
                f"The variable {variable}, which should hold the token, is not set."
            )
        return _checked(token, f"The variable {variable}") if token else ""

    def _make(self, command: tuple[str, ...]) -> None:
        output = output_of(command, LONGEST_TOKEN)
        self._token = _checked(_decoded(output), f"The output of {command[0]}")
        now = self._made_at = self._clock()
        until = now + self._config.token_seconds
        if expiry := _expiry_of(self._token):
            until = min(until, expiry - _MARGIN)
        self._until = max(until, now + _SHORTEST)

    def _secret_headers(self) -> dict[str, str]:
        variable = self._config.headers_variable
        if not variable:
            return {}
        try:
            headers = json.loads(os.environ.get(variable, ""))
            if not isinstance(headers, dict):
                raise CredentialError(
                    f"The variable {variable} must hold a JSON object: header names and values."
                )
            checks.check_headers(headers)
        except ValueError:
            # Without its cause, which holds the text.
            raise CredentialError(
                f"The variable {variable}, which should hold headers as JSON, is not set or not JSON."
            ) from None
        except ConfigurationError as error:
            raise CredentialError(f"In the variable {variable}: {error}") from None
        return headers


def is_private(path: str) -> bool:
    """Return whether only its owner can read a file, as far as this system says so."""
    if os.name == "nt":
        return True
    try:
        return not Path(path).stat().st_mode & 0o077
    except OSError:
        return True  # reading it says what is wrong


def _token_in(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST_TOKEN + 1)
    except OSError as error:
        raise CredentialError(
            f"The file {path}, which should hold the token, cannot be read: {error.strerror}."
        ) from None
    return _checked(_decoded(content), f"The file {path}")


def _decoded(content: bytes) -> str:
    # With a mark of UTF-8 or UTF-16 where Windows wrote it.
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return content.decode(encoding, errors="replace").strip()


def _checked(token: str, place: str) -> str:
    """Return a token that can be sent in a header.

    Raises:
        CredentialError: it cannot; none of it is repeated.
    """
    if not token:
        raise CredentialError(f"{place} holds no token: it is empty.")
    if len(token) > LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise CredentialError(
            f"{place} must hold the token and nothing else: one line of at most {LONGEST_TOKEN} "
            "ASCII characters."
        )
    return token


def _expiry_of(token: str) -> float | None:
    """Return when a token says that it expires, if it is a JWT, in seconds since 1970. Not verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
