"""The API server's refusal of a kernel's Pod, in words for the kernel's user."""

from __future__ import annotations

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import sentence


def passes(*, status: int, api_reason: str, message: str, is_restart: bool) -> bool:
    """Return whether the API may accept the same request in a moment.

    Args:
        status, api_reason, message: as for `creation_failure`.
        is_restart: whether a pod of the same kernel has just ended, which the quota may still count.
    """
    # 500: also an admission webhook that does not answer. Conflict: starts at the same moment change the
    # ResourceQuota (k8s.io/apiserver pkg/admission/plugin/resourcequota/controller.go).
    if status == 0 or status == 429 or status >= 500 or api_reason == "Conflict":
        return True
    return is_restart and "exceeded quota" in message


def creation_failure(*, status: int, api_reason: str, message: str) -> LaunchFailed:
    """Explain a failed POST of a Pod or Secret.

    Args:
        status: the HTTP status; 0 where no answer came.
        api_reason: `reason` of the API's Status object.
        message: its `message`.
    """
    if status == 0:
        return LaunchFailed(
            "ClusterUnavailable", f"The Kubernetes API does not answer ({message}). Try again soon."
        )
    if "failed calling webhook" in message:
        return LaunchFailed(
            "WebhookUnavailable",
            f"An admission webhook of the cluster does not answer: {sentence(message)} "
            "An administrator can check the service that it names.",
        )
    # "exceeded quota": the sum is too high; "failed quota": a request or limit is missing.
    if status == 403 and ("exceeded quota" in message or "failed quota" in message):
        return LaunchFailed(
            "QuotaExceeded",
            f"The namespace's quota does not allow another kernel: {sentence(message)} "
            "Shut down kernels that you no longer need, or ask for a larger quota.",
        )
    if status == 403 and "violates PodSecurity" in message:
        return LaunchFailed(
            "PodSecurity", f"The namespace's Pod Security level refuses the kernel's pod: {message}"
        )
    if status == 403:
        return LaunchFailed(
            "Forbidden",
            f"The cluster forbids the gateway to start the kernel: {sentence(message)} "
            "An administrator can check the gateway's Role, LimitRanges and admission policies.",
        )
    if status == 422 or api_reason == "Invalid":
        return LaunchFailed("InvalidPod", f"The cluster finds the kernel's pod invalid: {message}")
    return LaunchFailed(
        "ClusterError", f"The Kubernetes API answered {status} {api_reason}: {message}"
    )
