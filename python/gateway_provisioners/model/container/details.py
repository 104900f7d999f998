"""The facts about a kernel's container or service that its users may know: pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from gateway_provisioners.model.workload_details import WorkloadDetails

_NANO = 10**9


def container_details(container: Mapping[str, Any], node: str) -> WorkloadDetails:
    """Return what an inspected container says; `node` is the engine's machine."""
    host = container.get("HostConfig") or {}
    return WorkloadDetails(
        node=node,
        image=str((container.get("Config") or {}).get("Image") or ""),
        limits=_limits(host.get("NanoCpus"), host.get("Memory")),
    )


def task_details(task: Mapping[str, Any]) -> WorkloadDetails:
    """Return what the task of a service says, as the API lists it."""
    spec = task.get("Spec") or {}
    limits = (spec.get("Resources") or {}).get("Limits") or {}
    return WorkloadDetails(
        node=str(task.get("NodeID") or ""),
        image=str((spec.get("ContainerSpec") or {}).get("Image") or ""),
        limits=_limits(limits.get("NanoCPUs"), limits.get("MemoryBytes")),
    )


def _limits(nano_cpus: int | None, memory: int | None) -> dict[str, str]:
    limits = {}
    if nano_cpus:
        cores = Fraction(nano_cpus, _NANO)
        limits["cpu"] = str(cores) if cores.denominator == 1 else f"{ceil(cores * 1000)}m"
    if memory:
        limits["memory"] = str(memory)
    return limits
