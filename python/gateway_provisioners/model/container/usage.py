"""The part of quotas that a kernel's container or service takes: pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from gateway_provisioners.model.container.config import (
    KERNEL_ID_LABEL,
    KERNEL_NAME_LABEL,
    USERNAME_LABEL,
)
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.quota import CPUS, GPUS, MEMORY, KernelUsage

_NANO = 10**9
_SHARES_OF_A_CPU = 1024


def container_usage(container: Mapping[str, Any], ownership: Ownership) -> KernelUsage:
    """Return the part that a container takes.

    Args:
        container: inspected, or the body of its creation.
    """
    labels = (container.get("Config") or container).get("Labels") or {}
    host = container.get("HostConfig") or {}
    period = host.get("CpuPeriod") or 100_000  # the Linux kernel's default, in microseconds
    amounts = {
        CPUS: Fraction(host.get("NanoCpus") or 0, _NANO)
        or Fraction(host.get("CpuQuota") or 0, period)
        or Fraction(host.get("CpuShares") or 0, _SHARES_OF_A_CPU),
        MEMORY: Fraction(host.get("Memory") or host.get("MemoryReservation") or 0),
        GPUS: Fraction(sum(map(_devices, host.get("DeviceRequests") or ()))),
    }
    return _usage(labels, amounts, ownership)


def task_usage(task: Mapping[str, Any], ownership: Ownership) -> KernelUsage:
    """Return the part that a Swarm task takes.

    Args:
        task: the Spec of a task, or the TaskTemplate of its service.
    """
    resources = task.get("Resources") or {}
    limits, requests = resources.get("Limits") or {}, resources.get("Reservations") or {}
    devices = (
        each.get("DiscreteResourceSpec") or {} for each in requests.get("GenericResources") or ()
    )
    amounts = {
        CPUS: Fraction(limits.get("NanoCPUs") or requests.get("NanoCPUs") or 0, _NANO),
        MEMORY: Fraction(limits.get("MemoryBytes") or requests.get("MemoryBytes") or 0),
        GPUS: Fraction(sum(each.get("Value") or 0 for each in devices)),
    }
    return _usage(task["ContainerSpec"].get("Labels") or {}, amounts, ownership)


def _devices(request: Mapping[str, Any]) -> int:
    return len(request.get("DeviceIDs") or ()) or int(request.get("Count") or 0)


def _usage(
    labels: Mapping[str, str], amounts: Mapping[str, Fraction], ownership: Ownership
) -> KernelUsage:
    return KernelUsage(
        kernel_id=labels.get(KERNEL_ID_LABEL, ""),
        kernel_name=labels.get(KERNEL_NAME_LABEL, ""),
        username=labels.get(USERNAME_LABEL, ""),
        owner=ownership.owner,
        groups=frozenset(ownership.groups),
        amounts={resource: number for resource, number in amounts.items() if number > 0},
    )
