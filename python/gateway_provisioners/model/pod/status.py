"""A Pod as the API reports it: its addresses, its kernel's container and exit code; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.model.failures import EXIT_CODE_OF_LOST

# The container that runs the kernel, in pods that this package makes.
CONTAINER = "kernel"


def addresses(pod: Mapping[str, Any]) -> Sequence[str]:
    """The Pod's addresses, one for each IP family; empty before it has any."""
    status = fields(pod)
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
    terminated = kernel_status(pod).get("state", {}).get("terminated")
    if terminated:
        return int(terminated.get("exitCode", EXIT_CODE_OF_LOST))
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return EXIT_CODE_OF_LOST
    phase = fields(pod).get("phase")
    if phase == "Succeeded":
        return 0
    return EXIT_CODE_OF_LOST if phase == "Failed" else None


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether every container has ended, so that the Pod counts for no quota and no node."""
    return fields(pod).get("phase") in {"Succeeded", "Failed"}


def fields(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Pod's `status`; empty before it has one."""
    status: Mapping[str, Any] = pod.get("status") or {}
    return status


def condition(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The Pod's condition of that type; empty if it has none."""
    conditions = fields(pod).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == name), {})


def has_node(pod: Mapping[str, Any]) -> bool:
    """Return whether the Pod was given to a node."""
    return bool((pod.get("spec") or {}).get("nodeName"))


def kernel_container(pod: Mapping[str, Any]) -> str:
    """The name of the container that runs the kernel; in a foreign pod, its first container."""
    names = [container["name"] for container in pod.get("spec", {}).get("containers", ())]
    return CONTAINER if CONTAINER in names or not names else str(names[0])


def memory_limit(pod: Mapping[str, Any]) -> str:
    """The memory limit of the kernel's container, or else of its Pod, as a quantity; "" if it has none."""
    spec = pod.get("spec") or {}
    name = kernel_container(pod)
    containers = [each for each in spec.get("containers") or () if each["name"] == name]
    for holder in (*containers, spec):
        limits = (holder.get("resources") or {}).get("limits") or {}
        if limit := limits.get("memory"):
            return str(limit)
    return ""


def kernel_status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status of the kernel's container; empty before it has one."""
    name = kernel_container(pod)
    for status in fields(pod).get("containerStatuses") or ():
        if status.get("name") == name:
            found: Mapping[str, Any] = status
            return found
    return {}
