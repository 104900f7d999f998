"""Events about a kernel's Pod, in which `kubectl describe pod` shows the steps of its start: pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.objects import Object

REPORTING_COMPONENT = "gateway-provisioners"
# The API's limit.
_LONGEST_MESSAGE = 1024
_REASONS: Mapping[Phase, str] = {Phase.READY: "KernelStarted", Phase.FAILED: "KernelFailed"}


def build_event(pod: Mapping[str, Any], stage: Stage, now: datetime) -> Object:
    """Return an Event about a Pod that exists, or did."""
    metadata = pod["metadata"]
    is_failure = stage.phase is Phase.FAILED
    message = f"{stage.reason}: {stage.message}" if stage.reason else stage.message
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {
            "name": f"{metadata['name']}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if is_failure else "Normal",
        "reason": _REASONS.get(stage.phase, "KernelStarting"),
        "message": _cut(message),
        "source": {"component": REPORTING_COMPONENT},
        "reportingComponent": REPORTING_COMPONENT,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _cut(message: str) -> str:
    """Cut a message to the API's limit, which counts bytes."""
    return message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore")
