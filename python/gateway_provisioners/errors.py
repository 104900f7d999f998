"""What can go wrong, in words for the person who reads it. Imports nothing of this package.

Messages name the kernel, say what happened and why, and what to do about it. They never hold a
secret, a token, or a value of the user's environment.
"""

from __future__ import annotations


class GatewayProvisionersError(Exception):
    """The root of every error this package raises on purpose.

    Attributes:
        reason: a short CamelCase word, stable over releases, for metrics and for programs.
        http_status: the status a REST host answers with.
    """

    reason: str = "Error"
    http_status: int = 500


class InvalidRequest(GatewayProvisionersError):
    """The client asked for something that is malformed (a value that is no CPU quantity, ...)."""

    reason = "InvalidRequest"
    http_status = 400


class PolicyViolation(GatewayProvisionersError):
    """The client asked for something that the administrator does not allow."""

    reason = "PolicyViolation"
    http_status = 403


class ConfigurationError(GatewayProvisionersError):
    """The administrator's settings cannot work; the message names the setting."""

    reason = "Configuration"


class LaunchFailed(GatewayProvisionersError):
    """A kernel did not come to life; everything that its launch made has been removed.

    Args:
        reason: why, as one CamelCase word (ImagePull, Unschedulable, OOMKilled, Quota, ...).
        message: the sentence for the user.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KernelBusy(GatewayProvisionersError):
    """Somebody else, perhaps another gateway, is restarting or ending the kernel."""

    reason = "KernelBusy"
    http_status = 409


class TooManyKernels(PolicyViolation):
    """As many kernels run, or are being started, as the administrator allows."""

    reason = "TooManyKernels"

    @staticmethod
    def at_limit(limit: int) -> str:
        """Return the message for a limit of all users together."""
        return f"This gateway runs {limit} kernels at most and has that many; shut one down first."


class ProtocolError(GatewayProvisionersError):
    """A peer sent bytes that are not the launcher's wire protocol; the message never quotes them."""

    reason = "Protocol"


class EngineError(GatewayProvisionersError):
    """What runs containers refused or failed a request.

    Attributes:
        status: the HTTP status, or 0 when there was no answer.
    """

    reason = "Engine"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ClusterError(EngineError):
    """The Kubernetes API refused or failed a request.

    Attributes:
        api_reason: the API's own word (Forbidden, AlreadyExists, ...), or "".
    """

    reason = "Cluster"

    def __init__(self, message: str, *, status: int = 0, api_reason: str = "") -> None:
        super().__init__(message, status=status)
        self.api_reason = api_reason


class CommandFailed(GatewayProvisionersError):
    """A kernel's launcher could not be reached, or did not do what it was told."""

    reason = "Command"
