"""Shuts down kernels whose clients have gone without a word, after the time that these have chosen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from weakref import WeakKeyDictionary

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from gateway_provisioners.aio import call_later
from gateway_provisioners.errors import InvalidRequest
from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.deadlines import Deadline
from gateway_provisioners.gateway.kernels.peers import Peers
from gateway_provisioners.gateway.process.audit import acting_because
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.model.request.launch_request import orphan_timeout

# How long after its time a kernel is looked at again that is busy, or that another gateway shuts down.
_AGAIN_SECONDS = 10.0
# The clocks of two gateways, which learn at different times that the last client has left.
_TOLERANCE = timedelta(seconds=5)

_log = logging.getLogger(__name__)


class Orphans:
    """Watches how long kernels have been without any connection, at this gateway or another one.

    A client says in KERNEL_ORPHAN_TIMEOUT how long its kernel may be. The variable is a part of the kernel's
    record, so that every gateway knows it; each begins to count anew when it takes the kernel over, so
    that clients have the time to connect again. What a kernel does counts like a connection.
    """

    def __init__(
        self,
        kernels: AsyncMappingKernelManager,
        peers: Callable[[], Peers],
        metrics: GatewayMetrics,
    ) -> None:
        self._kernels = kernels
        self._peers = peers
        self._metrics = metrics
        # Since when each kernel has been without a connection; those that have one are missing.
        self._alone: WeakKeyDictionary[Any, datetime] = WeakKeyDictionary()
        self._timers: WeakKeyDictionary[Any, asyncio.TimerHandle] = WeakKeyDictionary()
        self._shutdowns: set[asyncio.Task[None]] = set()
        self._stopped = False

    def check(self, kernel_id: str) -> None:
        """Note the connections of a kernel; called at its start, and whenever they have changed."""
        if self._stopped or kernel_id not in self._kernels:
            return
        kernel = self._kernels.get_kernel(kernel_id)
        if not _limit(kernel):
            return
        if self._is_connected(kernel_id):
            self._alone.pop(kernel, None)
            self._cancel_timer(kernel)
        elif kernel not in self._alone:
            self._alone[kernel] = datetime.now(timezone.utc)
            self._look_later(kernel_id, kernel, _limit(kernel))

    def why_due(self, kernel_id: str) -> str:
        """Return why another gateway may have shut a kernel down, in a sentence; "" if it was not due."""
        kernel = self._kernels.get_kernel(kernel_id)
        deadline = self._deadline(kernel)
        if deadline is None or _is_busy(kernel):
            return ""
        return deadline.why if deadline.is_due(datetime.now(timezone.utc) + _TOLERANCE) else ""

    async def look(self, kernel_id: str) -> None:
        """Shut a kernel down if it is due and this gateway is the leader; otherwise look again later."""
        if self._stopped or kernel_id not in self._kernels:
            return
        kernel = self._kernels.get_kernel(kernel_id)
        if (deadline := self._deadline(kernel)) is None:
            return
        left = (deadline.at - datetime.now(timezone.utc)).total_seconds()
        if left <= 0 and self._peers().is_leader() and not _is_busy(kernel):
            await self._shut_down(kernel_id, kernel, deadline)
        if kernel_id in self._kernels and kernel in self._alone:
            self._look_later(kernel_id, kernel, left if left > 0 else _AGAIN_SECONDS)

    def stop(self) -> None:
        """Leave all kernels to other gateways."""
        self._stopped = True
        for kernel in list(self._timers):
            self._cancel_timer(kernel)

    async def _shut_down(self, kernel_id: str, kernel: Any, deadline: Deadline) -> None:
        _log.warning("Kernel %s (%s) is shut down. %s", kernel_id, kernel.kernel_name, deadline.why)
        try:
            with acting_because("Orphaned"):
                await self._kernels.shutdown_kernel(
                    kernel_id, why=f"{deadline.why} It was shut down."
                )
        except Exception as error:  # noqa: BLE001 - it is tried again
            _log.warning("Kernel %s could not be shut down: %s", kernel_id, summarize(error))
        else:
            self._metrics.culled(kernel.kernel_name, deadline.cause)

    def _is_connected(self, kernel_id: str) -> bool:
        here = self._kernels._kernel_connections.get(kernel_id, 0)
        return bool(here or self._peers().connections_elsewhere(kernel_id))

    def _deadline(self, kernel: Any) -> Deadline | None:
        since, limit = self._alone.get(kernel), _limit(kernel)
        if since is None or not limit:
            return None
        return Deadline.of_orphan(max(since, kernel.last_activity), limit)

    def _look_later(self, kernel_id: str, kernel: Any, seconds: float) -> None:
        def begin() -> None:
            task = asyncio.create_task(self.look(kernel_id))
            self._shutdowns.add(task)
            task.add_done_callback(self._shutdowns.discard)

        self._cancel_timer(kernel)
        self._timers[kernel] = call_later(seconds, begin)

    def _cancel_timer(self, kernel: Any) -> None:
        if timer := self._timers.pop(kernel, None):
            timer.cancel()


def _limit(kernel: Any) -> int:
    try:
        return orphan_timeout(kernel.client_environment)
    except InvalidRequest:  # of a record that another release has checked
        return 0


def _is_busy(kernel: Any) -> bool:
    return bool(kernel.execution_state == "busy")
