"""The API server's refusal of a kernel's Pod, in words for the kernel's user."""

from __future__ import annotations

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import sentence


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
    # "exceeded quota": the sum is too high; "failed quota": a request or limit is missing.
    if status == 403 and ("exceeded quota" in message or "failed quota" in message):
        return LaunchFailed(
            "QuotaExceeded",
            f"The namespace's quota does not allow another kernel: {sentence(message)} "
            "Shut down kernels that you no longer need, or ask for a larger quota.",
        )
    if status == 403 and "violates PodSecurity" in message:
        return LaunchFailed(
            "PodSecurity", f"The namespace's Pod Security level refuses its pod: {message}"
        )
    if status == 403:
        return LaunchFailed(
            "Forbidden",
            f"The cluster forbids the gateway to start it: {sentence(message)} "
            "An administrator can check the gateway's Role, LimitRanges and admission policies.",
        )
    if status == 422 or api_reason == "Invalid":
        return LaunchFailed("InvalidPod", f"The cluster finds its pod invalid: {message}")
    return LaunchFailed(
        "ClusterError", f"The Kubernetes API answered {status} {api_reason}: {message}"
    )
