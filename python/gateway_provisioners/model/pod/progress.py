"""The progress of a Pod on its way to a kernel, in words: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import NOT_REPORTED
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.containers import container_progress, sidecar_failures
from gateway_provisioners.model.pod.status import fields, kernel_status


def progress(pod: Mapping[str, Any], conditions: StartConditions) -> str:
    """Describe how far the Pod has come, for a user who waited too long for it."""
    if found := conditions.present:
        return str(found)
    earlier = f" Before that: {conditions.earlier}" if conditions.earlier else ""
    return " ".join(dict.fromkeys([_stage(pod), *sidecar_failures(pod)])) + earlier


def _stage(pod: Mapping[str, Any]) -> str:
    if "running" in kernel_status(pod).get("state", {}):
        return NOT_REPORTED
    return container_progress(pod) or f"Its pod is still {fields(pod).get('phase', 'Pending')}."
