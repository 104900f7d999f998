"""The restart of a kernel while it is under way, and the workload that it replaces."""

from __future__ import annotations

import asyncio
import logging

from gateway_provisioners.aio import within
from gateway_provisioners.provisioners.workload import Workload

# How long a restart waits for the workload that it replaces.
_GONE_SECONDS = 60.0


class Restart:
    """Keeps what is stored about a kernel from `begin` until the restart is completed or given up.

    Args:
        log: the log of the kernel's provisioner.

    Attributes:
        is_under_way: True from `begin` until then.
    """

    def __init__(self, log: logging.Logger) -> None:
        self.is_under_way = False
        self._log = log
        # The workload of the attempt before this one, from its stop until it is replaced.
        self._predecessor: Workload | None = None

    @property
    def has_predecessor(self) -> bool:
        """True if a workload waits for its replacement."""
        return self._predecessor is not None

    async def begin(self, workload: Workload) -> None:
        """Begin to restart the kernel in a workload; another process finishes it if this one dies.

        Raises:
            KernelBusy: another gateway is restarting or ending the kernel.
            GatewayProvisionersError: that could not be stored.
        """
        await workload.begin_restart()
        self.is_under_way = True

    async def end(self, workload: Workload, grace_seconds: int) -> None:
        """Stop a workload that is to be replaced; remove any other."""
        if self.is_under_way:
            await workload.stop()
        else:
            await workload.remove(grace_seconds=grace_seconds)

    async def wait_gone(self, kernel_id: str, workload: Workload) -> None:
        """Return when a workload uses no resources, or has not gone in time."""
        try:
            await within(_GONE_SECONDS, workload.wait_gone())
        except asyncio.TimeoutError:
            self._log.warning(
                "Kernel %s: %s was not removed within %.0f s (node lost?); restarting anyway.",
                kernel_id,
                workload.name,
                _GONE_SECONDS,
            )

    def leave(self, workload: Workload) -> None:
        """Keep a workload that has ended until it is replaced; release any other."""
        if self.is_under_way:
            self._predecessor = workload
        else:
            workload.release()

    async def complete(self) -> None:
        """Remove the workload that was replaced; called when the new one has started.

        Raises:
            KernelBusy: the kernel was ended meanwhile.
        """
        predecessor = self._finish()
        if predecessor is not None:
            predecessor.release()
            await predecessor.remove_replaced()

    def give_up(self) -> Workload | None:
        """End the restart without a new workload; returns the one that would have been replaced."""
        return self._finish()

    def _finish(self) -> Workload | None:
        predecessor, self._predecessor = self._predecessor, None
        self.is_under_way = False
        return predecessor
