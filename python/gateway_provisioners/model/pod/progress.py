"""The progress of a Pod on its way to a kernel, in words: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import BEING_CREATED, NOT_REPORTED
from gateway_provisioners.model.pod.conditions import no_node
from gateway_provisioners.model.pod.status import fields, kernel_status


def progress(pod: Mapping[str, Any]) -> str:
    """Describe how far the Pod has come, for a user who waited too long for it."""
    waiting = kernel_status(pod).get("state", {}).get("waiting") or {}
    if found := no_node(pod):
        return str(found)
    if "running" in kernel_status(pod).get("state", {}):
        return NOT_REPORTED
    if waiting.get("reason") in {"ContainerCreating", "PodInitializing"}:
        return BEING_CREATED
    return f"Its pod is still {fields(pod).get('phase', 'Pending')}."
