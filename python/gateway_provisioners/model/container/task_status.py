"""A service's task as Docker Swarm reports it, explained to the kernel's user: pure.

States are those of https://docs.docker.com/engine/swarm/how-swarm-mode-works/swarm-task-states/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.container.status import image_missing, volume_missing
from gateway_provisioners.model.failures import (
    BEING_CREATED,
    EXIT_CODE_OF_LOST,
    NOT_REPORTED,
    container_cannot_run,
    container_exited,
    sentence,
)
from gateway_provisioners.model.launch_progress import Phase, Stage

_WAITS_FOR_NODE = frozenset({"new", "pending"})
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


def exit_code(task: Mapping[str, Any]) -> int | None:
    """The kernel's exit code, or None while the task may be alive."""
    status = _status(task)
    if status.get("State") not in _ENDED:
        return None
    container = status.get("ContainerStatus") or {}
    # For a task that did not end with its container Swarm reports 0.
    if status.get("State") in {"complete", "failed"}:
        return int(container.get("ExitCode") or 0)
    return EXIT_CODE_OF_LOST


def addresses(task: Mapping[str, Any]) -> Sequence[str]:
    """The task's addresses on overlay networks; empty on a network of one node."""
    attachments = task.get("NetworksAttachments") or ()
    found = (address for each in attachments for address in each.get("Addresses") or ())
    return [str(address).partition("/")[0] for address in found]


def container_name(task: Mapping[str, Any], service: str) -> str:
    """The name that Swarm gives the container of a replicated service's task, or "" before it has one."""
    if not (_status(task).get("ContainerStatus") or {}).get("ContainerID"):
        return ""
    return f"{service}.{task.get('Slot', '')}.{task.get('ID', '')}"


def is_unschedulable(task: Mapping[str, Any]) -> bool:
    """Return whether Swarm has looked for a node and found none so far."""
    status = _status(task)
    return status.get("State") in _WAITS_FOR_NODE and bool(status.get("Err"))


def start_failure(task: Mapping[str, Any], *, unschedulable_is_final: bool) -> LaunchFailed | None:
    """Explain why this task will not become a kernel; None while it still may."""
    status = _status(task)
    state, error = status.get("State"), str(status.get("Err") or "no further details")
    if is_unschedulable(task) and unschedulable_is_final:
        return unschedulable(task)
    if state == "rejected":
        image = str(((task.get("Spec") or {}).get("ContainerSpec") or {}).get("Image") or "")
        if "no such image" in error.lower() or "pull access denied" in error.lower():
            return image_missing(image, error)
        if "mount" in error.lower():
            return volume_missing(error)
        return container_cannot_run(error)
    if state in {"complete", "failed"}:
        # The exit code of a container that could not be started at all is the engine's own.
        if state == "failed" and not error.startswith("task: non-zero exit"):
            return container_cannot_run(error)
        return container_exited(exit_code(task) or 0)
    if state in _ENDED:
        return LaunchFailed(
            "Deleted", f"The kernel's task was ended while it was starting ({state})."
        )
    return None


def unschedulable(task: Mapping[str, Any]) -> LaunchFailed:
    """No node of the swarm can run the task."""
    error = str(_status(task).get("Err") or "")
    return LaunchFailed(
        "Unschedulable",
        f"No node of the swarm can run the kernel: {sentence(error)} Check its constraints and resources.",
    )


def progress(task: Mapping[str, Any]) -> Stage:
    """Describe how far the task has come, for a user who waits for it."""
    if is_unschedulable(task):
        failure = unschedulable(task)
        return Stage(Phase.WAITING_FOR_NODE, failure.message, failure.reason)
    state = _status(task).get("State", "new")
    if state == "running":
        return Stage(Phase.RUNNING, NOT_REPORTED)
    if state == "preparing":
        return Stage(Phase.PULLING, BEING_CREATED)
    phase = Phase.WAITING_FOR_NODE if state in _WAITS_FOR_NODE else Phase.CREATING
    return Stage(phase, f"The kernel's task is still {state}.")


def _status(task: Mapping[str, Any]) -> Mapping[str, Any]:
    status: Mapping[str, Any] = task.get("Status") or {}
    return status
