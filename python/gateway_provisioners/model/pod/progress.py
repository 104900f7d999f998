"""The progress of a Pod on its way to a kernel, in words: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import BEING_CREATED, NOT_REPORTED
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.status import fields, kernel_status


def progress(pod: Mapping[str, Any], conditions: StartConditions) -> str:
    """Describe how far the Pod has come, for a user who waited too long for it."""
    if found := conditions.present:
        return str(found)
    earlier = f" Before that: {conditions.earlier}" if conditions.earlier else ""
    return f"{_stage(pod)}{earlier}"


def _stage(pod: Mapping[str, Any]) -> str:
    waiting = kernel_status(pod).get("state", {}).get("waiting") or {}
    if "running" in kernel_status(pod).get("state", {}):
        return NOT_REPORTED
    if waiting.get("reason") in {"ContainerCreating", "PodInitializing"}:
        return BEING_CREATED
    return f"Its pod is still {fields(pod).get('phase', 'Pending')}."
