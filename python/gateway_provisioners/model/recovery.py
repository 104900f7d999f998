"""What is stored of a kernel for a later process, and what that one does with what it finds: pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class KernelRecord:
    """What a later process has to know of one kernel.

    Attributes:
        workload: the name of the container or service that is the kernel.
        content: what its provisioner stored; holds keys and the client's variables.
        restarting: a restart was begun, so the workload may be gone and the kernel is not.
        started, last_activity: when that was, in ISO 8601; "" if nobody knows.
    """

    workload: str
    content: Mapping[str, Any] = field(repr=False)
    restarting: bool = False
    started: str = ""
    last_activity: str = ""

    def to_json(self, instance: str) -> dict[str, Any]:
        """As JSON, with the name of whose kernel it is."""
        return {"version": 1, "instance": instance, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, stored: Any, instance: str) -> KernelRecord | None:
        """What `to_json` made; None where it is another instance's.

        Raises:
            ValueError: it is something else.
        """
        try:
            if stored["version"] != 1:
                raise ValueError("its version is not 1")
            if stored["instance"] != instance:
                return None
            content = stored["content"]
            return cls(
                workload=str(stored["workload"]),
                content={**content, "kernel_id": str(content["kernel_id"])},
                restarting=bool(stored["restarting"]),
                started=str(stored["started"]),
                last_activity=str(stored["last_activity"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("it is no record of a kernel") from error


@dataclass(frozen=True)
class Recovery:
    """What to do.

    Attributes:
        adopt: the ids of kernels that are there, or whose restart was never finished.
        drop: the ids of kernels that are gone, whose records nobody needs.
        remove: the names of workloads that are no kernel, or only part of one.
    """

    adopt: tuple[str, ...]
    drop: tuple[str, ...]
    remove: tuple[str, ...]


def plan_recovery(
    records: Mapping[str, KernelRecord], *, workloads: Iterable[str], parts: Iterable[str] = ()
) -> Recovery:
    """Decide.

    Args:
        records: by the kernels' ids.
        workloads: the names of the containers and services that there are.
        parts: the names of the workloads of which at least something is there.
    """
    there = set(workloads)
    adopt = {
        kernel_id
        for kernel_id, record in records.items()
        if record.workload in there or record.restarting
    }
    needed = there & {records[kernel_id].workload for kernel_id in adopt}
    return Recovery(
        adopt=tuple(sorted(adopt)),
        drop=tuple(sorted(records.keys() - adopt)),
        remove=tuple(sorted((there | set(parts)) - needed)),
    )
