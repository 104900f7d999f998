"""Amounts as Kubernetes writes them, as limits of a container or a service: pure.

All are rounded up: engines read 0 as unlimited.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from gateway_provisioners.model.request.quantity import amount

STORAGE = "ephemeral-storage"

Resources = Mapping[str, Mapping[str, str]]

# Of Docker, and podman's own, which it does not name; with one without files it ignores the options.
_LOG_FILE_DRIVERS = frozenset({"json-file", "local", ""})
_NANO = 10**9
_MIN_CPU_SHARES, _MAX_CPU_SHARES = 2, 2**18  # the Linux kernel's


def container_limits(resources: Resources, *, gpu_resource: str) -> dict[str, Any]:
    """Return fields of a container's HostConfig."""
    limits, requests = _amounts(resources, "limits"), _amounts(resources, "requests")
    host: dict[str, Any] = {}
    if "cpu" in limits:
        host["NanoCpus"] = ceil(limits["cpu"] * _NANO)
    if "cpu" in requests:  # the weight when CPUs are short, computed as a kubelet does
        shares = int(requests["cpu"] * 1024)
        host["CpuShares"] = min(max(_MIN_CPU_SHARES, shares), _MAX_CPU_SHARES)
    if "memory" in limits:
        # Memory and swap together: with free swap the limit would have no effect.
        host["Memory"] = host["MemorySwap"] = ceil(limits["memory"])
    if "memory" in requests:
        host["MemoryReservation"] = ceil(requests["memory"])
    if STORAGE in limits:
        host["StorageOpt"] = {"size": str(ceil(limits[STORAGE]))}
    if gpus := ceil(limits.get(gpu_resource, 0)):
        host["DeviceRequests"] = [{"Count": gpus, "Capabilities": [["gpu"]]}]
    return host


def service_resources(
    resources: Resources, *, gpu_resource: str, pids_limit: int
) -> dict[str, Any]:
    """Return the Resources of a service's task."""
    limits = _amounts(resources, "limits")
    most = _service_amounts(limits)
    if pids_limit:
        most["Pids"] = pids_limit
    reservations = _service_amounts(_amounts(resources, "requests"))
    if gpus := ceil(limits.get(gpu_resource, 0)):
        reservations["GenericResources"] = [
            {"DiscreteResourceSpec": {"Kind": "NVIDIA-GPU", "Value": gpus}}
        ]
    return {"Limits": most, "Reservations": reservations}


def log_options(driver: str, *, max_bytes: int, max_files: int) -> dict[str, str]:
    """Return the options of a log driver that keeps files; empty for others, which refuse them."""
    if not max_bytes or driver not in _LOG_FILE_DRIVERS:
        return {}
    return {"max-size": str(max_bytes), "max-file": str(max_files)}


def _amounts(resources: Resources, kind: str) -> dict[str, Fraction]:
    return {resource: amount(str(text)) for resource, text in resources.get(kind, {}).items()}


def _service_amounts(amounts: Mapping[str, Fraction]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    if "cpu" in amounts:
        named["NanoCPUs"] = ceil(amounts["cpu"] * _NANO)
    if "memory" in amounts:
        named["MemoryBytes"] = ceil(amounts["memory"])
    return named
