"""The errors of this package, in words for the person who reads them. Imports nothing of this package.

Messages say what happened and why, and what to do about it. They never hold a secret, a token, or a
value of the user's environment.
"""

from __future__ import annotations


class GatewayProvisionersError(Exception):
    """The root of every error this package raises on purpose.

    Attributes:
        reason: a short CamelCase word, stable over releases, for metrics and for programs.
        http_status: the status a REST server answers with.
        retry_after: the seconds after which the client may try again; None: not known.
    """

    reason: str = "Error"
    http_status: int = 500
    retry_after: int | None = None


class InvalidRequest(GatewayProvisionersError):
    """The client asked for something that is malformed (an invalid CPU quantity, ...)."""

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
    """A kernel did not start; everything that its launch made is being removed.

    Args:
        reason: the cause as one CamelCase word (ImagePull, Unschedulable, OOMKilled, ...).
        message: the cause as a sentence, and what to do.
        container_ran: whether the container has a log worth showing.
        can_pass: whether it only took too long, and another attempt may have more luck.

    Attributes:
        kernel: the kernel's name and id; the provisioner sets it.
        log: the last lines of the container's log, for the user.
    """

    def __init__(
        self, reason: str, message: str, *, container_ran: bool = False, can_pass: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.container_ran = container_ran
        self.can_pass = can_pass
        self.kernel = ""
        self.log = ""

    def __str__(self) -> str:
        kernel = f"Kernel {self.kernel} did not start. " if self.kernel else ""
        log = self.log.rstrip()
        return f"{kernel}{self.message}" + (f"\nThe last lines of its log:\n{log}" if log else "")


class KernelBusy(GatewayProvisionersError):
    """Another process, perhaps another gateway, is restarting or ending the kernel."""

    reason = "KernelBusy"
    http_status = 409


class TooManyKernels(PolicyViolation):
    """As many kernels run, or are being started, as the administrator allows."""

    reason = "TooManyKernels"

    @classmethod
    def at_limit(cls, limit: int) -> TooManyKernels:
        """Return the error for a limit of all users together."""
        return cls(
            f"This gateway runs {limit} kernels at most and has that many; shut one down first."
        )


class TooManyResources(PolicyViolation):
    """The kernels of a user or a group would use more CPUs, memory or GPUs than the administrator allows."""

    reason = "TooManyResources"


class ProtocolError(GatewayProvisionersError):
    """A peer sent bytes that are not the launcher's wire protocol; the message never quotes them."""

    reason = "Protocol"


class EngineError(GatewayProvisionersError):
    """The engine, which runs containers, refused or failed a request.

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
    """A kernel's launcher could not be reached, or did not do what it was asked to."""

    reason = "Command"
