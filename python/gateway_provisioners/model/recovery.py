"""Decide what a gateway that starts does with the workloads on its engine: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.kernel_record import KernelRecord


@dataclass(frozen=True)
class StoredKernel:
    """The stored data of one workload.

    Attributes:
        restarting: whether another workload is about to replace this one.
        last_activity, started: in ISO 8601, or "" where they are not known.
    """

    record: KernelRecord
    restarting: bool = False
    last_activity: str = ""
    started: str = ""

    @property
    def kernel_id(self) -> str:
        return self.record.kernel_id

    @property
    def attempt(self) -> int:
        return self.record.attempt

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, which has its `record` under that name in all versions."""
        return {
            "record": self.record.to_json(),
            "restarting": self.restarting,
            "last_activity": self.last_activity,
            "started": self.started,
        }

    @classmethod
    def from_json(cls, value: object) -> StoredKernel:
        """Read what `to_json` of this release, or of the one before, returned.

        Raises:
            NewerRecord: a later release wrote it.
            ProtocolError: it is malformed.
        """
        if not isinstance(value, Mapping):
            raise ProtocolError("The stored kernel is not a JSON object.")
        kernel = cls(
            KernelRecord.from_json(value.get("record")),
            value.get("restarting", False),
            value.get("last_activity", ""),
            value.get("started", ""),
        )
        texts = (kernel.last_activity, kernel.started)
        if not isinstance(kernel.restarting, bool) or not all(
            isinstance(each, str) for each in texts
        ):
            raise ProtocolError("The stored kernel is malformed.")
        return kernel


@dataclass(frozen=True)
class Recovery:
    """The actions to take, by names of workloads.

    Attributes:
        adopt: kernels that exist, dead or alive, and those whose restart was never finished.
        forget: workloads to delete from the store: their kernels are gone.
        remove: workloads that do not belong to a kernel.
    """

    adopt: frozenset[str]
    forget: frozenset[str]
    remove: frozenset[str]


def plan_recovery(
    stored: Mapping[str, StoredKernel],
    existing: Iterable[str],
    *,
    newer: Mapping[str, str],
) -> Recovery:
    """Decide which workloads to adopt, to forget and to remove.

    Args:
        stored: by names of workloads.
        existing: the names of the workloads on the engine.
        newer: the workloads that a gateway of a later release stored, and the ids of their kernels.
            All workloads of these kernels are left as they are.
    """
    there = frozenset(existing)
    left = {*newer, *(name for name, each in stored.items() if each.kernel_id in newer.values())}
    kernels: dict[str, str] = {}
    for name, kernel in stored.items():
        if name in left or (name not in there and not kernel.restarting):
            continue
        other = kernels.get(kernel.kernel_id)
        # While one workload replaces another, the later one is the kernel.
        if other is None or stored[other].attempt < kernel.attempt:
            kernels[kernel.kernel_id] = name
    adopt = frozenset(kernels.values())
    return Recovery(
        adopt=adopt, forget=frozenset(stored) - adopt - left, remove=there - adopt - left
    )
