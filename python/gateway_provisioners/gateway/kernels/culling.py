"""Shuts down kernels that are idle or dead, and those that have reached their maximum lifetime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import PeriodicCallback

from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.peers import Peers
from gateway_provisioners.gateway.process.audit import acting_because
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection

# Of a kernelspec's `metadata`, in seconds. The first is jupyter_server's own.
IDLE_TIMEOUT = "cull_idle_timeout"
MAX_LIFETIME = "max_lifetime"

_log = logging.getLogger(__name__)


class Culler:
    """jupyter_server's culling, for several gateways and with limits for each kernel.

    A kernelspec's `metadata` holds the idle timeout and the maximum lifetime of its kernels; a kernel keeps
    the limits that it was started with. Only the leader among the gateways culls.
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
        self._timer: PeriodicCallback | None = None

    def start(self) -> None:
        """Cull every `cull_interval` seconds, unless this was started before."""
        if self._timer is None:
            self._timer = PeriodicCallback(self.cull, 1000 * self._kernels.cull_interval)
            self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()

    async def cull(self) -> None:
        """Shut down the kernels that are due, if this gateway is the leader."""
        if not self._peers().is_leader():
            return
        for kernel_id in self._kernels.list_kernel_ids():
            try:
                kernel = self._kernels.get_kernel(kernel_id)
                if not await self._shut_down_if_too_old(kernel_id, kernel):
                    await self._shut_down_if_unused(kernel_id, kernel)
                if kernel_id in self._kernels:
                    self._announce(kernel_id, kernel)
            except Exception as error:  # noqa: BLE001 - the next kernel has to be checked as well
                _log.warning("Kernel %s cannot be culled: %s", kernel_id, summarize(error))

    async def _shut_down_if_unused(self, kernel_id: str, kernel: Any) -> None:
        if not self._limit(kernel, IDLE_TIMEOUT):
            return
        dead = kernel.execution_state == "dead"
        in_use = not self._kernels.cull_connected and self._peers().connections_elsewhere(kernel_id)
        if in_use and not dead:
            return
        with acting_because("Died" if dead else "Idle"):
            await self._kernels.cull_kernel_if_idle(kernel_id)
        if kernel_id not in self._kernels:
            self._metrics.culled(kernel.kernel_name, "dead" if dead else "idle")

    async def _shut_down_if_too_old(self, kernel_id: str, kernel: Any) -> bool:
        limit = self._limit(kernel, MAX_LIFETIME)
        age = datetime.now(timezone.utc) - kernel.started
        if not limit or age < timedelta(seconds=limit):
            return False
        _log.warning(
            "Kernel %s (%s) is shut down: it has run for %d seconds, and its %s is %d.",
            kernel_id,
            kernel.kernel_name,
            age.total_seconds(),
            MAX_LIFETIME,
            limit,
        )
        connections = GatewayWebsocketConnection.of_kernel(kernel)
        for connection in connections:
            connection.write_stderr(
                f"The kernel is shut down: it has reached its {MAX_LIFETIME} of {limit} seconds.",
                {},
            )
        with acting_because("Lifetime"):
            await self._kernels.shutdown_kernel(kernel_id)
        self._metrics.culled(kernel.kernel_name, "lifetime")
        for connection in connections:
            connection.report_end()
        return True

    def _announce(self, kernel_id: str, kernel: Any) -> None:
        """Announce what another gateway needs to go on if this one ends."""
        if self._limit(kernel, MAX_LIFETIME):
            self._peers().announce_started(kernel_id, kernel.started.isoformat())
        if self._limit(kernel, IDLE_TIMEOUT):
            self._peers().announce_activity(kernel_id, kernel.last_activity.isoformat())

    def _limit(self, kernel: Any, key: str) -> int:
        """Return a limit of a kernel in seconds; 0 if it has none."""
        metadata: Mapping[str, Any] = kernel.kernel_spec.metadata
        fallback = self._kernels.cull_idle_timeout if key == IDLE_TIMEOUT else 0
        return max(0, int(metadata.get(key, fallback)))
