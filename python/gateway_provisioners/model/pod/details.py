"""The facts about a kernel's pod that its users may know: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.pod.status import kernel_container
from gateway_provisioners.model.workload_details import WorkloadDetails


def pod_details(pod: Mapping[str, Any]) -> WorkloadDetails:
    """Return the pod's node, and the image and limits of the container that runs the kernel."""
    spec = pod.get("spec") or {}
    containers = {each["name"]: each for each in spec.get("containers") or ()}
    container = containers.get(kernel_container(pod), {})
    # A foreign pod may have limits of its own, for all its containers together.
    limits = {**_limits(spec), **_limits(container)}
    return WorkloadDetails(
        node=str(spec.get("nodeName") or ""), image=str(container.get("image") or ""), limits=limits
    )


def _limits(owner: Mapping[str, Any]) -> dict[str, str]:
    limits = (owner.get("resources") or {}).get("limits") or {}
    return {str(resource): str(text) for resource, text in limits.items()}
