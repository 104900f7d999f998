"""The environment of the gateway process: the only reader of GP_* and KG_* variables on this side.

An empty variable counts as none: charts and env files leave them empty. A value that cannot be meant
is refused with the variable's name, not replaced by a default.
"""

from __future__ import annotations

import logging
import os

from gateway_provisioners.errors import ConfigurationError

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Settings of jupyter_kernel_gateway that this gateway does not have, with what to do instead.
_REPLACED = {
    "KG_API": "it serves the one of jupyter_kernel_gateway's jupyter_websocket",
    "KG_SEED_URI": "kernels are not seeded from a notebook here",
    "KG_PRESPAWN_COUNT": "kernels are started when a client asks for one",
    "KG_ENV_PROCESS_WHITELIST": "no kernel gets the gateway's own environment; "
    "set variables in the kernelspec's `env`",
    "KG_ENV_WHITELIST": "use GP_CLIENT_ENVS",
    "KG_SSL_VERSION": "it speaks TLS 1.2 and later",
}


def text(name: str, default: str = "") -> str:
    """The variable's value without the white space around it, or `default`."""
    return os.environ.get(name, "").strip() or default


def take_secret(name: str) -> str:
    """The variable's value; the variable is gone afterwards, so that no child process inherits it."""
    return os.environ.pop(name, "").strip()


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """The variable as a whole number that is at least `minimum`."""
    value = text(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        raise ConfigurationError(f"{name}={value!r} is no whole number from {minimum} on.")
    return int(value)


def boolean(name: str, *, default: bool) -> bool:
    """The variable as true or false."""
    value = text(name).lower()
    if not value:
        return default
    if value not in _TRUE | _FALSE:
        raise ConfigurationError(f"{name}={value!r} is neither true nor false.")
    return value in _TRUE


def names(name: str) -> list[str]:
    """The variable as a list of names between commas."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def refuse_replaced_settings() -> None:
    """Refuse what a configuration for the plain jupyter_kernel_gateway may hold and we ignore.

    Raises:
        ConfigurationError: with the first such variable and what to do instead.
    """
    for name, instead in _REPLACED.items():
        if text(name):
            raise ConfigurationError(f"{name} is not supported by this gateway: {instead}.")


def log_level(name: str) -> int:
    """The variable as a level of the logging package, INFO if there is none."""
    value = text(name, "INFO").upper()
    if value not in _LOG_LEVELS:
        raise ConfigurationError(f"{name}={value!r} is none of {', '.join(_LOG_LEVELS)}.")
    return int(getattr(logging, value))
