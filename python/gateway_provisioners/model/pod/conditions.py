"""The conditions of a Pod that is not up yet, explained to the kernel's user: pure.

Reasons of waiting containers are the kubelet's (k8s.io/kubernetes pkg/kubelet/container/sync_result.go
and pkg/kubelet/images/types.go); conditions and Event reasons are those of the API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import image_failure, sentence
from gateway_provisioners.model.pod.ends import end_before_start
from gateway_provisioners.model.pod.status import fields, kernel_container

_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
# The scheduler's words for a claim that its StorageClass binds at once, but has not bound yet.
_UNBOUND_CLAIM = "unbound immediate PersistentVolumeClaims"


def start_failure(pod: Mapping[str, Any], *, unschedulable_is_final: bool) -> LaunchFailed | None:
    """Explain why this Pod will not become a kernel; None while it still may.

    Args:
        unschedulable_is_final: False while a cluster autoscaler may still make room.
    """
    return (
        end_before_start(pod)
        or _waiting(pod)
        or (_unschedulable(pod) if unschedulable_is_final else None)
    )


def is_unschedulable(pod: Mapping[str, Any]) -> bool:
    """Return whether the scheduler has found no node for the Pod so far."""
    return _unschedulable(pod) is not None


def event_failure(event: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain why the Pod of an Event will not start, for causes that its status does not show."""
    if event.get("type") != "Warning":
        return None
    reason = event.get("reason")
    message = str(event.get("message", "")).strip()
    if reason in {"FailedMount", "FailedAttachVolume", "FailedMapVolume"} and not _passes(message):
        return LaunchFailed(
            "VolumeMissing",
            f"A volume of the kernel's pod cannot be mounted: {sentence(message)} "
            "Check that the claim, Secret or ConfigMap exists in the kernels' namespace.",
        )
    return None


def no_node(pod: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain why the scheduler has found no node so far; None if it has, or has not looked yet."""
    for condition in fields(pod).get("conditions") or ():
        if (
            condition.get("type") == "PodScheduled"
            and condition.get("status") == "False"
            and condition.get("reason") == "Unschedulable"
        ):
            return LaunchFailed(
                "Unschedulable",
                f"No node of the cluster can take it: {sentence(condition.get('message', ''))} "
                f"It asks for {_requests(pod)}.",
            )
    return None


def _passes(message: str) -> bool:
    """Return whether the kubelet has not seen an existing Secret or ConfigMap yet, and will retry."""
    return "failed to sync" in message or "not registered" in message


def _waiting(pod: Mapping[str, Any]) -> LaunchFailed | None:
    status = fields(pod)
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for container in statuses:
        waiting = container.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason"), waiting.get("message", "")
        if reason in _IMAGE_REASONS:
            return image_failure(container.get("image"), reason, message, puller="the cluster")
        if reason in _CONFIG_REASONS and not _passes(message):
            return LaunchFailed(
                "ContainerCannotRun", f"Its container cannot be created ({reason}): {message}"
            )
    return None


def _unschedulable(pod: Mapping[str, Any]) -> LaunchFailed | None:
    found = no_node(pod)
    # A new claim is bound in a moment, when its volume is there.
    return None if found and _UNBOUND_CLAIM in str(found) else found


def _requests(pod: Mapping[str, Any]) -> str:
    name = kernel_container(pod)
    for container in pod.get("spec", {}).get("containers", ()):
        if container.get("name") == name:
            resources = container.get("resources") or {}
            amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            if amounts:
                return ", ".join(f"{name} {amount}" for name, amount in sorted(amounts.items()))
    return "no particular resources"
