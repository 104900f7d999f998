"""The progress of a Pod on its way to a kernel, in words: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import NOT_REPORTED
from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.pod.conditions import StartConditions, containers_may_start
from gateway_provisioners.model.pod.containers import (
    container_progress,
    is_being_prepared,
    sidecar_failures,
    waiting_containers,
)
from gateway_provisioners.model.pod.status import fields, has_node, kernel_status


def progress(pod: Mapping[str, Any], conditions: StartConditions) -> Stage:
    """Describe how far the Pod has come, for a user who waits for it."""
    if not pod:
        return Stage(Phase.REQUESTED, "The kernel's pod is being created.")
    if found := conditions.present:
        return Stage(_phase_of_condition(pod, found.reason), str(found), found.reason)
    earlier = f" Before that: {conditions.earlier}" if conditions.earlier else ""
    phase, message = _stage(pod, conditions)
    return Stage(phase, " ".join(dict.fromkeys([message, *sidecar_failures(pod)])) + earlier)


def _phase_of_condition(pod: Mapping[str, Any], reason: str) -> Phase:
    if not has_node(pod):
        return Phase.WAITING_FOR_NODE
    if reason == "ImagePull":
        return Phase.PULLING
    return Phase.CREATING if containers_may_start(pod) else Phase.PREPARING


def _stage(pod: Mapping[str, Any], conditions: StartConditions) -> tuple[Phase, str]:
    if "running" in kernel_status(pod).get("state", {}):
        return Phase.RUNNING, NOT_REPORTED
    if image := conditions.pulled_image:
        return Phase.PULLING, f"The node is pulling the image {image!r}."
    if message := container_progress(pod):
        is_made = any(waiting_containers(pod)) and not is_being_prepared(pod)
        return (Phase.CREATING if is_made else Phase.PREPARING), message
    phase = Phase.PREPARING if has_node(pod) else Phase.WAITING_FOR_NODE
    return phase, f"The kernel's pod is still {fields(pod).get('phase', 'Pending')}."
