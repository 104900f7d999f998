"""The part of quotas that a kernel's pod takes: pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    STATE_ANNOTATION,
    USERNAME_ANNOTATION,
    annotation,
    kernel_id_of,
)
from gateway_provisioners.model.pod.manifest import (
    GPU_RESOURCE_ANNOTATION,
    KERNEL_NAME_ANNOTATION,
)
from gateway_provisioners.model.quota import CPUS, GPUS, MEMORY, KernelUsage
from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE
from gateway_provisioners.model.request.quantity import amount

_NAMES = {CPUS: "cpu", MEMORY: "memory"}


def counted_usage(pod: Mapping[str, Any], instance: str) -> KernelUsage | None:
    """Return the part of quotas that a pod takes.

    Returns:
        None for a pod that is not a kernel of `instance`, or is being ended.
    """
    kernel_id = kernel_id_of(pod, instance)
    if not kernel_id or annotation(pod, STATE_ANNOTATION) == ENDING:
        return None
    return usage(pod, kernel_id)


def usage(pod: Mapping[str, Any], kernel_id: str) -> KernelUsage:
    """Return the part of quotas that the pod of a kernel takes."""
    ownership = Ownership.from_annotations(pod["metadata"].get("annotations") or {}) or Ownership()
    return KernelUsage(
        kernel_id=kernel_id,
        kernel_name=annotation(pod, KERNEL_NAME_ANNOTATION),
        username=annotation(pod, USERNAME_ANNOTATION),
        owner=ownership.owner,
        groups=frozenset(ownership.groups),
        amounts=_amounts(pod),
    )


def _amounts(pod: Mapping[str, Any]) -> dict[str, Fraction]:
    names = {**_NAMES, GPUS: annotation(pod, GPU_RESOURCE_ANNOTATION) or DEFAULT_GPU_RESOURCE}
    found = {resource: _of_pod(pod.get("spec") or {}, name) for resource, name in names.items()}
    return {resource: number for resource, number in found.items() if number is not None}


def _of_pod(spec: Mapping[str, Any], name: str) -> Fraction | None:
    """Return the pod's own amount of a resource, or else the sum over its containers.

    Returns:
        None if a container does not state it, except for extended resources, of which it then has none.
    """
    if (own := _stated(spec, name)) is not None:
        return own
    sidecars = [
        each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    ]
    amounts = [_stated(each, name) for each in [*(spec.get("containers") or ()), *sidecars]]
    if name in _NAMES.values() and (None in amounts or not amounts):
        return None
    return sum(filter(None, amounts), Fraction(0))


def _stated(container: Mapping[str, Any], name: str) -> Fraction | None:
    """Return the limit, or else the request; 0 CPUs or bytes would not limit anything."""
    resources = container.get("resources") or {}
    for kind in ("limits", "requests"):
        text = (resources.get(kind) or {}).get(name)
        if text is not None and (number := _number(str(text))):
            return number
    return None


@lru_cache(maxsize=1024)
def _number(text: str) -> Fraction:
    try:
        return amount(text)
    except ConfigurationError:  # the API server accepts signs; no kernel has a negative amount
        return Fraction(0)
