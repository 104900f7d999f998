"""The progress of a Pod on its way to a kernel, in words: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import NOT_REPORTED
from gateway_provisioners.model.pod.conditions import no_node
from gateway_provisioners.model.pod.containers import container_progress, sidecar_failures
from gateway_provisioners.model.pod.status import fields, kernel_status


def progress(pod: Mapping[str, Any]) -> str:
    """Describe how far the Pod has come, for a user who waited too long for it."""
    return " ".join(dict.fromkeys([_progress(pod), *sidecar_failures(pod)]))


def _progress(pod: Mapping[str, Any]) -> str:
    if found := no_node(pod):
        return str(found)
    if "running" in kernel_status(pod).get("state", {}):
        return NOT_REPORTED
    return container_progress(pod) or f"Its pod is still {fields(pod).get('phase', 'Pending')}."
