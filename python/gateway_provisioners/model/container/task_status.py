"""What Docker Swarm says of a service's task, in words for the kernel's user.

States are those of https://docs.docker.com/engine/swarm/how-swarm-mode-works/swarm-task-states/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.container.status import image_missing, volume_missing
from gateway_provisioners.model.failures import (
    EXIT_CODE_OF_LOST,
    StartFailure,
    container_exited,
    sentence,
)

_WAITS_FOR_NODE = frozenset({"new", "pending"})
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


def exit_code(task: Mapping[str, Any]) -> int | None:
    """The kernel's exit code, or None while the task may be alive."""
    status = _status(task)
    if status.get("State") not in _ENDED:
        return None
    container = status.get("ContainerStatus") or {}
    # Of a task that was not ended by its own container Swarm says 0.
    if status.get("State") in {"complete", "failed"}:
        return int(container.get("ExitCode") or 0)
    return EXIT_CODE_OF_LOST


def address(task: Mapping[str, Any]) -> str | None:
    """The task's address on an overlay network; a network of its node alone has none here."""
    for attachment in task.get("NetworksAttachments") or ():
        if addresses := attachment.get("Addresses"):
            return str(addresses[0]).partition("/")[0]
    return None


def container_id(task: Mapping[str, Any]) -> str:
    """The id of the task's container, "" where there is none."""
    return str((_status(task).get("ContainerStatus") or {}).get("ContainerID") or "")


def is_unschedulable(task: Mapping[str, Any]) -> bool:
    """Whether Swarm has looked for a node and found none so far."""
    status = _status(task)
    return status.get("State") in _WAITS_FOR_NODE and bool(status.get("Err"))


def start_failure(task: Mapping[str, Any], *, unschedulable_is_final: bool) -> StartFailure | None:
    """Why this task will not become a kernel, or None while it still may."""
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
        return StartFailure(
            "ContainerCannotRun", f"Its container cannot be made or started: {error}"
        )
    if state in {"complete", "failed"}:
        # The exit code of a container that could not be started at all is the engine's own.
        if state == "failed" and not error.startswith("task: non-zero exit"):
            return StartFailure(
                "ContainerCannotRun", f"Its container cannot be made or started: {error}"
            )
        return container_exited(exit_code(task) or 0)
    if state in _ENDED:
        return StartFailure("Deleted", f"Its task was ended by somebody else ({state}).")
    return None


def unschedulable(task: Mapping[str, Any]) -> StartFailure:
    """What Swarm says about a task that no node can take."""
    error = str(_status(task).get("Err") or "")
    return StartFailure(
        "Unschedulable",
        f"No node of the swarm can take it: {sentence(error)} Check its constraints and resources.",
    )


def progress(task: Mapping[str, Any]) -> str:
    """How far the task has come, for somebody who waited too long for it."""
    if is_unschedulable(task):
        return unschedulable(task).message
    state = _status(task).get("State", "new")
    if state == "running":
        return "Its container runs, but its launcher has not reported to the gateway."
    if state == "preparing":
        return "Its node is still making the container; pulling a large image takes long."
    return f"Its task is still {state}."


def _status(task: Mapping[str, Any]) -> Mapping[str, Any]:
    status: Mapping[str, Any] = task.get("Status") or {}
    return status
