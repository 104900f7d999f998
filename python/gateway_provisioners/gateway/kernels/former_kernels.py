"""Kernels that have ended: whose they were, and why they ended."""

from __future__ import annotations

from dataclasses import dataclass

from cachetools import LRUCache

from gateway_provisioners.model.ownership import Ownership

MOST_KERNELS = 10_000
_LONGEST_CAUSE = 1000


@dataclass(frozen=True)
class _Former:
    ownership: Ownership
    why: str


class FormerKernels:
    """The last kernels that ended in this gateway, up to `MOST_KERNELS`, by their ids."""

    def __init__(self) -> None:
        self._former: LRUCache[str, _Former] = LRUCache(MOST_KERNELS)

    def remember(self, kernel_id: str, ownership: Ownership, why: str) -> None:
        """Remember a kernel that has ended.

        Args:
            why: sentences for its former owner.
        """
        self._former[kernel_id] = _Former(ownership, why[:_LONGEST_CAUSE])

    def owner_of(self, kernel_id: str) -> Ownership | None:
        """Return whose kernel it was; None if it is not known."""
        former = self._former.get(kernel_id)
        return None if former is None else former.ownership

    def why(self, kernel_id: str) -> str:
        """Return why a kernel ended, in sentences; "" if it is not known."""
        former = self._former.get(kernel_id)
        return "" if former is None else former.why
