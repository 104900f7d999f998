"""What a gateway that starts does with what it finds on its engine: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StoredKernel:
    """What is stored of one workload.

    Attributes:
        record: as a provisioner's `get_provisioner_info` gives it; it holds keys.
        restarting: whether another workload was to be the kernel in its place.
        last_activity, started: in ISO 8601, or "" where nobody has told.
    """

    record: Mapping[str, Any] = field(repr=False)
    restarting: bool = False
    last_activity: str = ""
    started: str = ""

    @property
    def kernel_id(self) -> str:
        return str(self.record["kernel_id"])

    @property
    def attempt(self) -> int:
        return int(self.record["attempt"])


@dataclass(frozen=True)
class Recovery:
    """What to do, by names of workloads.

    Attributes:
        adopt: kernels that are there, dead or alive, and those whose restart was never finished.
        forget: what is stored of kernels that nobody can come back to.
        remove: workloads that are nobody's kernel.
    """

    adopt: frozenset[str]
    forget: frozenset[str]
    remove: frozenset[str]


def plan_recovery(stored: Mapping[str, StoredKernel], existing: Iterable[str]) -> Recovery:
    """Decide.

    Args:
        stored: by names of workloads.
        existing: the names of the workloads that there are.
    """
    there = frozenset(existing)
    kernels: dict[str, str] = {}
    for name, kernel in stored.items():
        if name not in there and not kernel.restarting:
            continue
        other = kernels.get(kernel.kernel_id)
        # Of two there are while one replaces the other, the later one is the kernel.
        if other is None or stored[other].attempt < kernel.attempt:
            kernels[kernel.kernel_id] = name
    adopt = frozenset(kernels.values())
    return Recovery(adopt=adopt, forget=frozenset(stored) - adopt, remove=there - adopt)
