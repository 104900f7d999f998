"""The methods that the settings name."""

from __future__ import annotations

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.methods.base import Method
from gateway_provisioners.gateway.identity.methods.tokens import SharedToken


def build_methods(shared_token: str, methods: str) -> list[Method]:
    """Return the methods of a gateway.

    Args:
        shared_token: the token of `gateway.auth.token`, or "".
        methods: `gateway.auth.methods` as JSON, by name, or "".

    Raises:
        ConfigurationError: they are malformed; the message names the method and the field.
    """
    if methods:
        raise ConfigurationError("GP_AUTH_METHODS: not there yet.")
    return [SharedToken(shared_token)] if shared_token else []
