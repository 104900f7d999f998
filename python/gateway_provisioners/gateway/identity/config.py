"""The methods that the settings name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.groups import MethodWithUserGroups, UserGroups
from gateway_provisioners.gateway.identity.methods.base import Method, Settings
from gateway_provisioners.gateway.identity.methods.header import HeaderMethod, HeaderSettings
from gateway_provisioners.gateway.identity.methods.jupyterhub import (
    JupyterHubMethod,
    JupyterHubSettings,
)
from gateway_provisioners.gateway.identity.methods.jwt import JwtMethod, JwtSettings
from gateway_provisioners.gateway.identity.methods.tokens import (
    SharedToken,
    TokenMethod,
    TokenSettings,
)

# The method for each type, which is the tag of the settings.
_METHODS: dict[type[Settings], Callable[[str, Any], Method]] = {
    HeaderSettings: HeaderMethod,
    JupyterHubSettings: JupyterHubMethod,
    JwtSettings: JwtMethod,
    TokenSettings: TokenMethod,
}
_NAME = re.compile(r"[a-z0-9-]{1,40}")


def build_methods(
    shared_token: str, methods: str, groups: UserGroups | None = None
) -> list[Method]:
    """Return the methods of a gateway.

    Args:
        shared_token: the tokens of `gateway.auth.token`, one a line, or "".
        methods: `gateway.auth.methods` as JSON, by name, or "".
        groups: the groups that users have besides those of their credentials.

    Raises:
        ConfigurationError: they are malformed; the message names the method and the field.
    """
    built: list[Method] = [SharedToken(shared_token)] if shared_token else []
    issuers: dict[str, str] = {}
    for name, settings in _settings(methods):
        if isinstance(settings, JwtSettings):
            other = issuers.setdefault(settings.issuer, name)
            if other != name:
                raise _error(
                    name, f"{other!r} has the same issuer: list all audiences in one method"
                )
        try:
            method = _METHODS[type(settings)](name, settings)
        except ConfigurationError as error:
            raise _error(name, str(error).rstrip(".")) from None
        built.append(MethodWithUserGroups(method, settings.admin_groups, groups or UserGroups("")))
    return built


def _settings(methods: str) -> Iterator[tuple[str, Settings]]:
    try:
        entries = msgspec.json.decode(methods or "{}", type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigurationError(
            f"GP_AUTH_METHODS must be a JSON object, the settings of each method by its name: {error}."
        ) from None
    types: Any = reduce(or_, _METHODS)
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            raise _error(
                name[:60], "a method's name has 1 to 40 lower-case letters, digits and hyphens"
            )
        try:
            yield name, msgspec.json.decode(entry, type=types)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise _error(name, str(error)) from None


def _error(name: str, cause: str) -> ConfigurationError:
    return ConfigurationError(f"GP_AUTH_METHODS, method {name!r}: {cause}.")
