"""The TLS settings of a gateway's configuration."""

from __future__ import annotations

import ssl

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig


def context_of(config: GatewayConfig) -> ssl.SSLContext | None:
    """Return the TLS context for a gateway; None for http.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """
    if not config.url.startswith("https://"):
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except (OSError, ValueError) as error:
        raise _unusable("certificates", config.ca_file, error) from error
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_cert:
        try:
            context.load_cert_chain(config.client_cert, config.client_key or None, _refuse_to_ask)
        except (OSError, ValueError) as error:
            paths = f"{config.client_cert} {config.client_key}".strip()
            raise _unusable("client certificate", paths, error) from error
    return context


def _refuse_to_ask() -> str:
    """Without it, OpenSSL would ask on the terminal, which a kernel does not have."""
    raise ConfigurationError(
        "The key of the client certificate is encrypted; name one without a passphrase."
    )


def _unusable(what: str, path: str, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return ConfigurationError(f"The {what} in {path} cannot be used: {reason}.")
