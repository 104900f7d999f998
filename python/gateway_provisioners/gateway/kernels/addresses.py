"""The addresses of kernels, from which no client of the gateway connects."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable

from gateway_provisioners.model.addresses import Address, read_address


class KernelAddresses:
    """The present addresses of kernels' workloads: the back end reports them, the servers look them up."""

    def __init__(self) -> None:
        self._of_workload: dict[str, frozenset[Address]] = {}
        # While an address passes from one workload to another, both may have it.
        self._counts: Counter[Address] = Counter()
        self._listeners: list[Callable[[], None]] = []

    def __contains__(self, address: Address) -> bool:
        return address in self._counts

    def report(self, workload: str, addresses: Iterable[str]) -> None:
        """Replace the addresses of a workload; none when it is gone.

        Text that is not an address, such as the "" of a workload on its host's network, is left out.
        """
        before = self._of_workload.pop(workload, frozenset())
        after = frozenset(_readable(addresses))
        if after:
            self._of_workload[workload] = after
        added = [address for address in after - before if address not in self._counts]
        self._counts.update(after - before)
        for address in before - after:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
        if added:
            for listener in self._listeners:
                listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` when there is a new address."""
        self._listeners.append(listener)


def _readable(addresses: Iterable[str]) -> Iterable[Address]:
    for address in addresses:
        with contextlib.suppress(ValueError):
            yield read_address(address)
