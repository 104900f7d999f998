"""Errors of the client: each message is for the user who reads it, cause first."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of this package; its text is a sentence for the user."""


class ConfigurationError(ClientError):
    """An option, a file or a variable makes no sense."""


class CredentialError(ClientError):
    """The token could not be read, or its command failed; the text never has any of its output."""


class GatewayUnreachable(ClientError):
    """No answer came from the gateway: its name, network, certificate or a proxy."""


class GatewayRefused(ClientError):
    """The gateway answered with an error.

    Attributes:
        status: of HTTP.
        reason: the gateway's word for it, such as `ImagePullFailed`; "" from other servers.
    """

    def __init__(self, message: str, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
