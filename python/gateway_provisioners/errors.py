"""The errors of this package, in words for the person who reads them. Imports nothing of this package.

Messages say what happened and why, and what to do about it. They never hold a secret, a token, or a
value of the user's environment.
"""

from __future__ import annotations

_RETRY_SECONDS = 10

# Of starts that failed, by reason: 4xx for what the user can mend, 503 for what another attempt may mend, and
# 500, without an entry, for what an administrator has to mend. Clients treat 401, 404 and 410 in ways of
# their own, and repeat only GET and DELETE by themselves.
LAUNCH_STATUSES = {
    "OOMKilled": 422,
    "QuotaExceeded": 403,
    "Timeout": 504,
    **dict.fromkeys(
        [
            "ClusterUnavailable",
            "Deleted",
            "Engine",
            "Evicted",
            "NodeLost",
            "NodeShutdown",
            "NodeTainted",
            "OutOfcpu",
            "OutOfmemory",
            "OutOfpods",
            "Preempted",
            "WebhookUnavailable",
        ],
        503,
    ),
}


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
        self.http_status = 503 if can_pass else LAUNCH_STATUSES.get(reason, 500)
        if self.http_status == 503:
            self.retry_after = _RETRY_SECONDS
        self.kernel = ""
        self.log = ""

    def note_request(self, *, sizes: bool, volumes: bool) -> None:
        """Take into account whether the user, and not the kernelspec, chose the sizes or the volumes.

        What the user asked for, the user can mend.
        """
        if (self.reason == "Unschedulable" and sizes) or (
            self.reason == "VolumeMissing" and volumes
        ):
            self.http_status = 422

    def __str__(self) -> str:
        lines = [self.message]
        if log := self.log.rstrip():
            lines += ["The last lines of its log:", log]
        if self.kernel:
            lines.append(f"Kernel {self.kernel}")
        return "\n".join(lines)


class KernelBusy(GatewayProvisionersError):
    """Another process, perhaps another gateway, is restarting or ending the kernel."""

    reason = "KernelBusy"
    http_status = 409


class KernelGone(GatewayProvisionersError):
    """The kernel was shut down before the request could be carried out."""

    reason = "KernelGone"
    http_status = 404


class GatewayStopping(GatewayProvisionersError):
    """The gateway was asked to stop; another one answers in a moment."""

    reason = "GatewayStopping"
    http_status = 503
    retry_after = 5


class StartCancelled(GatewayProvisionersError):
    """The kernel was shut down while it was being started."""

    reason = "StartCancelled"
    http_status = 409


class ForeignKernelId(KernelBusy):
    """Another user has or starts a kernel with the id that a client chose; the client must not learn this."""


class TooManyKernels(PolicyViolation):
    """As many kernels run, or are being started, as the administrator allows."""

    reason = "TooManyKernels"

    @classmethod
    def at_limit(cls, limit: int) -> TooManyKernels:
        """Return the error for a limit of all users together."""
        return cls(
            f"Too many kernels: this gateway runs at most {limit} and has that many. Shut one down first."
        )


class TooManyResources(PolicyViolation):
    """The kernels of a user or a group would use more CPUs, memory or GPUs than the administrator allows."""

    reason = "TooManyResources"


class ProtocolError(GatewayProvisionersError):
    """A peer sent bytes that are not the launcher's wire protocol; the message never quotes them."""

    reason = "Protocol"


# 0: no answer.
_STATUSES_OF_BUSY_ENGINES = frozenset({0, 429, 502, 503, 504})


class EngineError(GatewayProvisionersError):
    """The engine, which runs containers, refused or failed a request.

    Attributes:
        status: the HTTP status, or 0 when there was no answer.
    """

    reason = "Engine"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        if status in _STATUSES_OF_BUSY_ENGINES:
            self.http_status = 503
            self.retry_after = _RETRY_SECONDS


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
