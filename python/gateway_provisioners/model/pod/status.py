"""A Pod's status and Events, explained to the kernel's user: pure.

Reasons of waiting containers are the kubelet's (k8s.io/kubernetes pkg/kubelet/container/sync_result.go
and pkg/kubelet/images/types.go); conditions and Event reasons are those of the API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import (
    BEING_CREATED,
    EXIT_CODE_OF_LOST,
    NOT_REPORTED,
    OUT_OF_MEMORY,
    container_exited,
    image_failure,
    out_of_memory,
    sentence,
)

# The container that runs the kernel, in pods that this package makes.
CONTAINER = "kernel"

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


def addresses(pod: Mapping[str, Any]) -> Sequence[str]:
    """The Pod's addresses, one for each IP family; empty before it has any."""
    status = _status(pod)
    # Virtual kubelets may report only the first one.
    found = [status.get("podIP"), *(each.get("ip") for each in status.get("podIPs") or ())]
    return [address for address in dict.fromkeys(found) if address]


def own_addresses(pod: Mapping[str, Any]) -> Sequence[str]:
    """The addresses that the Pod has, and shares with nothing else.

    A Pod on its node's network has the node's, and one that has ended may have lost its own to another.
    """
    if (pod.get("spec") or {}).get("hostNetwork") or has_ended(pod):
        return []
    return addresses(pod)


def exit_code(pod: Mapping[str, Any]) -> int | None:
    """The kernel's exit code, or None while the Pod may be alive.

    A Pod that is being deleted counts as ended: nothing that was running in it will come back.
    """
    terminated = _kernel_status(pod).get("state", {}).get("terminated")
    if terminated:
        return int(terminated.get("exitCode", EXIT_CODE_OF_LOST))
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return EXIT_CODE_OF_LOST
    phase = _status(pod).get("phase")
    if phase == "Succeeded":
        return 0
    return EXIT_CODE_OF_LOST if phase == "Failed" else None


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether every container has ended, so that the Pod counts for no quota and no node."""
    return _status(pod).get("phase") in {"Succeeded", "Failed"}


def start_failure(pod: Mapping[str, Any], *, unschedulable_is_final: bool) -> LaunchFailed | None:
    """Explain why this Pod will not become a kernel; None while it still may.

    Args:
        unschedulable_is_final: False while a cluster autoscaler may still make room.
    """
    return (
        _deleted(pod)
        or _ended(pod)
        or _waiting(pod)
        or (_unschedulable(pod) if unschedulable_is_final else None)
    )


def end_cause(pod: Mapping[str, Any]) -> str | None:
    """Explain the end of a kernel that was running; None if only its exit code is known."""
    terminated = _kernel_status(pod).get("state", {}).get("terminated") or {}
    status = _status(pod)
    if terminated.get("reason") == "OOMKilled":
        return OUT_OF_MEMORY
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"Its pod failed ({status['reason']}): {status.get('message', 'no further details')}"
    return None


def is_unschedulable(pod: Mapping[str, Any]) -> bool:
    """Return whether the scheduler has found no node for the Pod so far."""
    return _unschedulable(pod) is not None


def progress(pod: Mapping[str, Any]) -> str:
    """Describe how far the Pod has come, for a user who waited too long for it."""
    waiting = _kernel_status(pod).get("state", {}).get("waiting") or {}
    if no_node := _no_node(pod):
        return str(no_node)
    if "running" in _kernel_status(pod).get("state", {}):
        return NOT_REPORTED
    if waiting.get("reason") in {"ContainerCreating", "PodInitializing"}:
        return BEING_CREATED
    return f"Its pod is still {_status(pod).get('phase', 'Pending')}."


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


def deleted() -> LaunchFailed:
    """The pod was deleted."""
    return LaunchFailed("Deleted", "Its pod was deleted while it was starting.")


def _passes(message: str) -> bool:
    """Return whether the kubelet has not seen an existing Secret or ConfigMap yet, and will retry."""
    return "failed to sync" in message or "not registered" in message


def _status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    status: Mapping[str, Any] = pod.get("status") or {}
    return status


def kernel_container(pod: Mapping[str, Any]) -> str:
    """The name of the container that runs the kernel; in a foreign pod, its first container."""
    names = [container["name"] for container in pod.get("spec", {}).get("containers", ())]
    return CONTAINER if CONTAINER in names or not names else str(names[0])


def _kernel_status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    name = kernel_container(pod)
    for status in _status(pod).get("containerStatuses") or ():
        if status.get("name") == name:
            found: Mapping[str, Any] = status
            return found
    return {}


def _deleted(pod: Mapping[str, Any]) -> LaunchFailed | None:
    if not pod.get("metadata", {}).get("deletionTimestamp"):
        return None
    return deleted()


def _ended(pod: Mapping[str, Any]) -> LaunchFailed | None:
    terminated = _kernel_status(pod).get("state", {}).get("terminated")
    if terminated:
        return _terminated(terminated)
    status = _status(pod)
    if status.get("phase") != "Failed":
        return None
    reason = status.get("reason") or "PodFailed"
    message = status.get("message") or "no further details"
    if reason == "Evicted":
        return LaunchFailed("Evicted", f"Its pod was evicted from the node: {message}")
    return LaunchFailed(reason, f"Its pod failed ({reason}): {message}")


def _terminated(terminated: Mapping[str, Any]) -> LaunchFailed:
    if terminated.get("reason") == "OOMKilled":
        return out_of_memory()
    if terminated.get("reason") in {"ContainerCannotRun", "StartError"}:
        message = terminated.get("message", "no further details")
        return LaunchFailed("ContainerCannotRun", f"Its container cannot be started: {message}")
    return container_exited(int(terminated.get("exitCode", EXIT_CODE_OF_LOST)))


def _waiting(pod: Mapping[str, Any]) -> LaunchFailed | None:
    status = _status(pod)
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
        if reason == "CrashLoopBackOff":
            return LaunchFailed(
                "ContainerExited",
                f"The container {container.get('name')!r} of its pod keeps exiting.",
            )
    return None


def _unschedulable(pod: Mapping[str, Any]) -> LaunchFailed | None:
    found = _no_node(pod)
    # A new claim is bound in a moment, when its volume is there.
    return None if found and _UNBOUND_CLAIM in str(found) else found


def _no_node(pod: Mapping[str, Any]) -> LaunchFailed | None:
    for condition in _status(pod).get("conditions") or ():
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


def _requests(pod: Mapping[str, Any]) -> str:
    name = kernel_container(pod)
    for container in pod.get("spec", {}).get("containers", ()):
        if container.get("name") == name:
            resources = container.get("resources") or {}
            amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            if amounts:
                return ", ".join(f"{name} {amount}" for name, amount in sorted(amounts.items()))
    return "no particular resources"
