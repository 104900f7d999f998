"""The ends of a Pod, before its kernel was up or after, explained to the user: pure.

The words of a Pod's `status.reason` are the kubelet's (k8s.io/kubernetes pkg/kubelet: eviction, preemption,
nodeshutdown, lifecycle/predicate.go, active_deadline.go). Those of its condition DisruptionTarget come from
whatever ends it early: the scheduler, the Eviction API, and the controllers of taints and of lost nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import (
    EXIT_CODE_OF_LOST,
    container_exited,
    detail,
    killed_for_memory,
    out_of_memory,
)
from gateway_provisioners.model.pod.containers import CRASH_LOOP, init_failure, sidecar_failures
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    RESTARTING,
    STATE_ANNOTATION,
    annotation,
)
from gateway_provisioners.model.pod.status import (
    condition,
    fields,
    has_ended,
    kernel_status,
    memory_limit,
)

# `LaunchedPod.stop` ends a Pod with this deadline.
STOP_DEADLINE_SECONDS = 1


@dataclass(frozen=True)
class _Cause:
    """A cause of a Pod's end.

    Attributes:
        reason: the word for it, if it ended a start.
        words: a sentence; with a colon at its end, Kubernetes' own message follows.
    """

    reason: str
    words: str


_NODE_SHUTDOWN = _Cause("NodeShutdown", "The kernel's node is being shut down:")
# By `status.reason`.
_POD_CAUSES = {
    "Evicted": _Cause("Evicted", "The kernel's pod was evicted from its node:"),
    "Preempting": _Cause("Preempted", "The node needed the kernel's place for a critical pod:"),
    "Terminated": _NODE_SHUTDOWN,
    "NodeShutdown": _NODE_SHUTDOWN,
    "Shutdown": _NODE_SHUTDOWN,
    "NodeLost": _Cause("NodeLost", "The kernel's node no longer answers:"),
    "DeadlineExceeded": _Cause(
        "DeadlineExceeded", "The kernel's time is up (activeDeadlineSeconds of its pod):"
    ),
}
# By the reason of the condition DisruptionTarget.
_DISRUPTIONS = {
    "PreemptionByScheduler": _Cause(
        "Preempted",
        "The kernel's pod was preempted: a pod with a higher priority needed its place.",
    ),
    "EvictionByEvictionAPI": _Cause(
        "Evicted",
        "The kernel's pod was evicted from its node through the Eviction API, as drains and autoscalers do.",
    ),
    "DeletionByTaintManager": _Cause(
        "NodeTainted",
        "The kernel's node has got a taint that its pod does not tolerate, as nodes do that no longer "
        "answer.",
    ),
    "DeletionByDeviceTaintManager": _Cause(
        "NodeTainted",
        "A device that the kernel used has got a taint that its pod does not tolerate.",
    ),
    "DeletionByPodGC": _Cause("NodeLost", "The kernel's node no longer exists."),
    "TerminationByKubelet": _Cause("Evicted", "The node ended the kernel's pod:"),
}
REASONS = frozenset(cause.reason for cause in (*_POD_CAUSES.values(), *_DISRUPTIONS.values()))
"""The reasons of starts that were cut short."""

# Of a kubelet that does not admit a Pod that was scheduled to it; another may, or this one a moment later.
_REFUSALS = frozenset(
    {
        "AppArmor",
        "InitContainerRestartPolicyForbidden",
        "InvalidNodeInfo",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "PodLevelResourcesNotSupported",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SMTAlignmentError",
        "SupplementalGroupsPolicyNotSupported",
        "SysctlForbidden",
        "TaintToleration",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
        "UnexpectedPredicateFailureType",
        "UnknownReason",
        "VolumeAttachmentLimitExceeded",
    }
)
_OUT_OF_RESOURCE = "OutOf"
_REASON = re.compile(r"[A-Z][A-Za-z0-9-]{0,62}")


def end_before_start(pod: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain the end of a Pod whose kernel was not up yet; None while it has not ended."""
    terminated = _terminated(pod)
    if terminated.get("reason") == "OOMKilled":
        return out_of_memory(memory_limit(pod))
    if _failed_with_reason(pod):
        return _cut_short(_pod_cause(pod))
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return deleted(pod)
    return init_failure(pod) or _ended(pod, terminated)


def deleted(pod: Mapping[str, Any]) -> LaunchFailed:
    """Explain the end of a Pod that was deleted before its kernel was up."""
    if disruption := _disruption(pod):
        return _cut_short(disruption)
    return LaunchFailed("Deleted", "The kernel's pod was deleted while it was starting.")


def end_cause(
    pod: Mapping[str, Any], *, gone: bool = False, by_gateway: bool = False
) -> str | None:
    """Explain the end of a kernel that was running; None if only its exit code is known.

    Args:
        gone: whether the Pod has been deleted.
        by_gateway: whether this process deletes it.
    """
    if not pod:
        return None
    if _terminated(pod).get("reason") == "OOMKilled":
        return killed_for_memory(memory_limit(pod))
    if _failed_with_reason(pod):
        return None if _is_stopped(pod) else _pod_cause(pod).words
    if not gone and "deletionTimestamp" not in pod["metadata"]:
        return None
    if disruption := _disruption(pod):
        return disruption.words
    by_gateway = by_gateway or annotation(pod, STATE_ANNOTATION) in (RESTARTING, ENDING)
    if by_gateway or _terminated(pod) or has_ended(pod):
        return None
    return "The kernel's pod was deleted by another client of the Kubernetes API."


def _failed_with_reason(pod: Mapping[str, Any]) -> bool:
    return fields(pod).get("phase") == "Failed" and bool(fields(pod).get("reason"))


def _cut_short(cause: _Cause) -> LaunchFailed:
    return LaunchFailed(cause.reason, f"{cause.words} Start it again.")


def _pod_cause(pod: Mapping[str, Any]) -> _Cause:
    """Explain a Pod that has failed with a reason."""
    status = fields(pod)
    reason, message = str(status.get("reason")), status.get("message")
    if cause := _POD_CAUSES.get(reason):
        return _detailed(cause, message)
    known = reason if _REASON.fullmatch(reason) else "PodFailed"
    words = f"The kernel's pod failed ({reason[:63]}):"
    if reason in _REFUSALS or reason.startswith(_OUT_OF_RESOURCE):
        words = f"The node did not accept the kernel's pod ({reason[:63]}):"
    return _detailed(_Cause(known, words), message)


def _disruption(pod: Mapping[str, Any]) -> _Cause | None:
    """Explain the disruption that the Pod is the target of, if any."""
    target = condition(pod, "DisruptionTarget")
    if target.get("status") != "True":
        return None
    reason = str(target.get("reason") or "")
    unknown = _Cause("Evicted", f"The kernel's pod was evicted ({reason[:63]}):")
    return _detailed(_DISRUPTIONS.get(reason, unknown), target.get("message"))


def _detailed(cause: _Cause, message: object) -> _Cause:
    """Return the cause with Kubernetes' message, if its words lead to one."""
    if not cause.words.endswith(":"):
        return cause
    return _Cause(cause.reason, f"{cause.words} {detail(message)}")


def _is_stopped(pod: Mapping[str, Any]) -> bool:
    """Return whether a gateway ended the Pod, before a restart."""
    deadline = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    return fields(pod).get("reason") == "DeadlineExceeded" and deadline == STOP_DEADLINE_SECONDS


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how its container ended, also if the kubelet is about to start it again; empty if it has not."""
    status = kernel_status(pod)
    state = status.get("state") or {}
    if (state.get("waiting") or {}).get("reason") == CRASH_LOOP:
        state = status.get("lastState") or {}
    terminated: Mapping[str, Any] = state.get("terminated") or {}
    return terminated


def _ended(pod: Mapping[str, Any], terminated: Mapping[str, Any]) -> LaunchFailed | None:
    if terminated.get("reason") in {"ContainerCannotRun", "StartError"}:
        message = detail(terminated.get("message"))
        return LaunchFailed(
            "ContainerCannotRun", f"The kernel's container cannot be started: {message}"
        )
    if terminated:
        failure = container_exited(int(terminated.get("exitCode", EXIT_CODE_OF_LOST)))
        message = " ".join([failure.message, *sidecar_failures(pod)])
        return LaunchFailed(failure.reason, message, container_ran=True)
    if fields(pod).get("phase") != "Failed":
        return None
    message = detail(fields(pod).get("message"))
    return LaunchFailed("PodFailed", f"The kernel's pod failed (PodFailed): {message}")
