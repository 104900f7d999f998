"""What a gateway that starts does with what it finds on its engine: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recovery:
    """What to do, by names of workloads.

    Attributes:
        adopt: kernels that run, or whose restart was never finished.
        forget: records of kernels that nobody can come back to.
        remove: workloads that are nobody's kernel.
    """

    adopt: tuple[str, ...]
    forget: tuple[str, ...]
    remove: tuple[str, ...]


def plan_recovery(stored: Mapping[str, Mapping[str, Any]], existing: Iterable[str]) -> Recovery:
    """Decide.

    Args:
        stored: what `Records.read_all` gives.
        existing: the names of the workloads that there are.
    """
    there = set(existing)
    newest: dict[str, str] = {}
    for name, content in stored.items():
        if name not in there and not content.get("restarting"):
            continue
        kernel_id = str(content["record"]["kernel_id"])
        # Of two there are while one replaces the other, the later one is the kernel.
        if kernel_id not in newest or _attempt(stored[newest[kernel_id]]) < _attempt(content):
            newest[kernel_id] = name
    adopt = set(newest.values())
    return Recovery(
        adopt=tuple(sorted(adopt)),
        forget=tuple(sorted(stored.keys() - adopt)),
        remove=tuple(sorted(there - adopt)),
    )


def _attempt(content: Mapping[str, Any]) -> int:
    return int(content["record"]["attempt"])
