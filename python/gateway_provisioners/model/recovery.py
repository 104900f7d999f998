"""Decide what a gateway does at its start with the workloads on its engine: pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
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


def read_time(text: str) -> datetime | None:
    """Return a stored time in ISO 8601; None if it is empty, malformed or without a time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


@dataclass(frozen=True)
class Recovery:
    """The actions to take, each for the workloads of these names.

    Attributes:
        adopt: kernels that exist, dead or alive, and those whose restart was never finished.
        forget: workloads whose records to delete: their kernels are gone.
        remove: workloads that do not belong to a kernel.
    """

    adopt: frozenset[str]
    forget: frozenset[str]
    remove: frozenset[str]


def plan_recovery(
    stored: Mapping[str, StoredKernel],
    existing: Collection[str],
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
    newer_kernels = set(newer.values())
    untouched = {
        *newer,
        *(name for name, each in stored.items() if each.record.kernel_id in newer_kernels),
    }
    kernels: dict[str, str] = {}
    for name, kernel in stored.items():
        if name in untouched or (name not in existing and not kernel.restarting):
            continue
        other = kernels.get(kernel.record.kernel_id)
        # While one workload replaces another, the later one is the kernel.
        if other is None or stored[other].record.attempt < kernel.record.attempt:
            kernels[kernel.record.kernel_id] = name
    adopt = frozenset(kernels.values())
    settled = adopt | untouched
    return Recovery(
        adopt=adopt, forget=frozenset(stored) - settled, remove=frozenset(existing) - settled
    )
