"""The state of kernels in the annotations of their pods, which all gateways of a release share: pure.

A kernel is one pod; while it is restarted it is two, the old one and the one that replaces it. A process
that starts, restarts or ends a kernel writes that down first, with its own name. If it dies half-way,
another process finishes the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.model.pod.status import exit_code

KERNEL_ID_LABEL = "kernel_id"
INSTANCE_LABEL = "app.kubernetes.io/instance"

STATE_ANNOTATION = "gateway-provisioners/state"
OPERATOR_ANNOTATION = "gateway-provisioners/operator"
ATTEMPT_ANNOTATION = "gateway-provisioners/attempt"
USERNAME_ANNOTATION = "gateway-provisioners/username"
LAST_ACTIVITY_ANNOTATION = "gateway-provisioners/last-activity"
STARTED_ANNOTATION = "gateway-provisioners/started"
_CONNECTED_PREFIX = "gateway-provisioners/connected-"

LAUNCHING = "launching"
RUNNING = "running"
RESTARTING = "restarting"
ENDING = "ending"


@dataclass(frozen=True)
class PodState:
    """One pod of one kernel.

    Attributes:
        operator: the process that set the state, where it is not RUNNING.
        attempt: 1 for the kernel's first pod, one more for each that replaced it.
        ended: the kernel in it has ended, or is about to with its pod.
    """

    name: str
    state: str
    operator: str
    attempt: int
    ended: bool


@dataclass(frozen=True)
class Decision:
    """The actions of a gateway for one kernel.

    Attributes:
        serve: the pod that is the kernel, or None.
        ended: whether the kernel was ended on purpose.
        remove: orphaned pods, whose operator is gone.
        reinstate: the pod whose restart was begun by a process that is gone.
    """

    serve: PodState | None = None
    ended: bool = False
    remove: tuple[PodState, ...] = field(default_factory=tuple)
    reinstate: PodState | None = None


def kernel_id_of(pod: Mapping[str, Any], instance: str) -> str:
    """The id of the kernel that a pod belongs to; "" for a pod that is not of `instance`."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(KERNEL_ID_LABEL, "")) if labels.get(INSTANCE_LABEL) == instance else ""


def annotation(pod: Mapping[str, Any], name: str) -> str:
    """An annotation's value, or ""."""
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))


def started(pod: Mapping[str, Any]) -> str:
    """The time of the first start of a pod's kernel, in ISO 8601; "" if the pod does not have it.

    A restart's pod is younger than its kernel, and has the time in an annotation.
    """
    created = str(pod["metadata"].get("creationTimestamp") or "").replace("Z", "+00:00")
    return annotation(pod, STARTED_ANNOTATION) or created


def read_state(pod: Mapping[str, Any]) -> PodState:
    """Read a kernel pod's annotations; a pod without an attempt is a first one."""
    attempt = annotation(pod, ATTEMPT_ANNOTATION)
    return PodState(
        name=pod["metadata"]["name"],
        state=annotation(pod, STATE_ANNOTATION),
        operator=annotation(pod, OPERATOR_ANNOTATION),
        attempt=_number(attempt, otherwise=1),
        ended=exit_code(pod) is not None,
    )


def decide(pods: Iterable[PodState], *, is_alive: Callable[[str], bool]) -> Decision:
    """Decide what to do about a kernel with these pods.

    Args:
        is_alive: returns whether a process of that name still runs.
    """
    states = sorted(pods, key=lambda pod: pod.attempt)
    abandoned = [pod for pod in states if pod.state != RUNNING and not is_alive(pod.operator)]
    running = [pod for pod in states if pod.state == RUNNING]
    restarting = [pod for pod in states if pod.state == RESTARTING]
    serve = running[-1] if running else restarting[-1] if restarting else None
    remove = [pod for pod in abandoned if pod is not serve]
    remove += [pod for pod in running[:-1] if pod not in remove]
    return Decision(
        serve=serve,
        ended=serve is None and any(pod.state == ENDING for pod in states),
        remove=tuple(remove),
        reinstate=serve if serve in abandoned else None,
    )


def state_change(before: tuple[str, str], after: tuple[str, str]) -> list[dict[str, Any]]:
    """A JSON patch from one (state, operator) to another, which fails if the first no longer holds."""
    paths = (_path(STATE_ANNOTATION), _path(OPERATOR_ANNOTATION))
    return [
        {"op": operation, "path": path, "value": value}
        for operation, values in (("test", before), ("replace", after))
        for path, value in zip(paths, values, strict=True)
    ]


def annotations_change(state: str, annotations: Mapping[str, str]) -> list[dict[str, Any]]:
    """A JSON patch that sets annotations, which fails if the pod is not in this state."""
    test = {"op": "test", "path": _path(STATE_ANNOTATION), "value": state}
    return [
        test,
        *(
            {"op": "add", "path": _path(name), "value": value}
            for name, value in annotations.items()
        ),
    ]


def annotations_patch(annotations: Mapping[str, str | None]) -> dict[str, Any]:
    """A merge patch that sets annotations; the value None removes one."""
    return {"metadata": {"annotations": dict(annotations)}}


def ending_patch(operator: str) -> dict[str, Any]:
    """A merge patch that marks a kernel as ended on purpose, whatever its state was before."""
    return annotations_patch({STATE_ANNOTATION: ENDING, OPERATOR_ANNOTATION: operator})


def connected_annotation(process: str) -> str:
    """The name of the annotation with the number of clients that are connected to a process."""
    return _CONNECTED_PREFIX + process


def connections_elsewhere(
    pod: Mapping[str, Any], *, own: str, is_alive: Callable[[str], bool]
) -> int:
    """The number of clients of the kernel that other processes, which still run, have announced."""
    annotations = pod["metadata"].get("annotations") or {}
    count = 0
    for name, value in annotations.items():
        process = name.removeprefix(_CONNECTED_PREFIX)
        if process not in (name, own) and is_alive(process):
            count += _number(value, otherwise=0)
    return count


def _number(text: str, *, otherwise: int) -> int:
    """Read a number that anything with access to the pod may have written."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else otherwise


def _path(annotation_name: str) -> str:
    """A JSON pointer (RFC 6901) to an annotation."""
    return f"/metadata/annotations/{annotation_name.replace('~', '~0').replace('/', '~1')}"
