"""The checks of a gateway's configuration; no message repeats a value that may be a secret."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.defaults import AUTH_HEADER

_MOST_WORDS = 100
_TOKEN_OF_HTTP = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}")
# What is sent in these is a credential: every user of this machine can read the arguments of a program.
_SECRET_HEADERS = re.compile(
    r"(?i)authorization|cookie|token|secret|password|api[-_]?key|credential"
)


def check_headers(headers: Mapping[str, str]) -> None:
    """Check that names and values can be sent; values are never repeated.

    Raises:
        ConfigurationError: one cannot.
    """
    for name, value in headers.items():
        if not _TOKEN_OF_HTTP.fullmatch(name):
            raise ConfigurationError(
                "The name of a header has a character that HTTP does not allow."
            )
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"The value of the header {name} must be one line of ASCII text of at most 8192 characters."
            )


def is_secret_header(name: str, auth_header: str = AUTH_HEADER) -> bool:
    """Return whether a header of this name usually holds a credential."""
    return name.lower() == auth_header.lower() or bool(_SECRET_HEADERS.search(name))


def is_loopback(host: str) -> bool:
    """Return whether a host is an address of this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def seconds_of(what: str, text: str) -> float:
    """Return a number of seconds.

    Raises:
        ConfigurationError: the text is not a number.
    """
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(f"{what} must be a number of seconds.") from error


def host_of(url: str) -> str:
    """Return the host of a gateway's URL.

    Raises:
        ConfigurationError: the URL is not a gateway's. The message does not repeat a password in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = None, ""
    if parts is None or parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(
            "The URL of the gateway must begin with http:// or https:// and name a host, such as "
            "https://gateway.example.com or https://gateway.example.com:8888/team-a."
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "The URL of the gateway must not hold a user name or password: a kernelspec would show it "
            "to every user of this machine. Name a variable, a file or a command for the token."
        )
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(
            "The URL of the gateway must not have a query (?...) or a fragment (#...). "
            "Name a variable, a file or a command for the token."
        )
    if not re.fullmatch(r"[\x21-\x7e]{1,2000}", url) or re.search(r"[\s\"<>\\^`{|}]", url):
        raise ConfigurationError("The URL of the gateway has characters that a URL cannot have.")
    return host


def command_of(text: str) -> tuple[str, ...]:
    """Return the words of a command: a JSON list, or as a shell would split it.

    Raises:
        ConfigurationError: a quotation mark is open, or it is empty or too long.
    """
    if not text.strip():
        return ()
    try:
        if text.lstrip().startswith("["):
            words = json.loads(text)
        elif os.name == "nt":  # backslashes separate folders there
            words = [word.strip('"') for word in shlex.split(text, posix=False)]
        else:
            words = shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(
            "--token-command cannot be split into words: is a quotation mark missing?"
        ) from error
    is_command = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not is_command or not 0 < len(words) <= _MOST_WORDS or not words[0]:
        raise ConfigurationError("--token-command must be a program and its arguments.")
    return tuple(words)


def header_of(text: str) -> tuple[str, str]:
    """Return the name and the value of `NAME:VALUE`.

    Raises:
        ConfigurationError: there is no colon.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigurationError("A --header must have the form NAME:VALUE.")
    return name.strip(), value.strip()


def absolute(path: str) -> str:
    """Return a path that holds in every working folder: a kernel's is that of its notebook."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""  # noqa: PTH100, PTH111 - keeps links
