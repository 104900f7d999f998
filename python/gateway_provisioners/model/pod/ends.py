"""The ends of a Pod, before its kernel was up or after, explained to the user: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import (
    EXIT_CODE_OF_LOST,
    OUT_OF_MEMORY,
    container_exited,
    out_of_memory,
)
from gateway_provisioners.model.pod.status import fields, kernel_status


def end_before_start(pod: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain the end of a Pod whose kernel was not up yet; None while it has not ended."""
    return _deleted(pod) or _ended(pod)


def end_cause(pod: Mapping[str, Any]) -> str | None:
    """Explain the end of a kernel that was running; None if only its exit code is known."""
    terminated = kernel_status(pod).get("state", {}).get("terminated") or {}
    status = fields(pod)
    if terminated.get("reason") == "OOMKilled":
        return OUT_OF_MEMORY
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"Its pod failed ({status['reason']}): {status.get('message', 'no further details')}"
    return None


def deleted() -> LaunchFailed:
    """The pod was deleted."""
    return LaunchFailed("Deleted", "Its pod was deleted while it was starting.")


def _deleted(pod: Mapping[str, Any]) -> LaunchFailed | None:
    if not pod.get("metadata", {}).get("deletionTimestamp"):
        return None
    return deleted()


def _ended(pod: Mapping[str, Any]) -> LaunchFailed | None:
    terminated = kernel_status(pod).get("state", {}).get("terminated")
    if terminated:
        return _terminated(terminated)
    status = fields(pod)
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
