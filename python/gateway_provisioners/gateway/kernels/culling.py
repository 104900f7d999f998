"""Shuts down kernels that are idle or dead, and those that have reached their maximum lifetime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from weakref import WeakKeyDictionary

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import PeriodicCallback

from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.deadlines import Deadline
from gateway_provisioners.gateway.kernels.peers import Peers
from gateway_provisioners.gateway.process.audit import acting_because
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection

# Of a kernelspec's `metadata`, in seconds. The first is jupyter_server's own.
IDLE_TIMEOUT = "cull_idle_timeout"
MAX_LIFETIME = "max_lifetime"
# The audit log's words for the causes of `Deadline`.
_REASONS = {"idle": "Idle", "lifetime": "Lifetime", "dead": "Died"}

_log = logging.getLogger(__name__)


class Culler:
    """jupyter_server's culling, for several gateways and with limits for each kernel.

    A kernelspec's `metadata` holds the idle timeout and the maximum lifetime of its kernels; a kernel keeps
    the limits that it was started with. Only the leader among the gateways culls. Each gateway gives notice
    to the clients that are connected to it.
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
        # By kernel and cause, the last deadline that clients got a notice of.
        self._noticed: WeakKeyDictionary[Any, dict[str, datetime]] = WeakKeyDictionary()

    def start(self) -> None:
        """Cull every `cull_interval` seconds, unless this was started before."""
        if self._timer is None:
            self._timer = PeriodicCallback(self.cull, 1000 * self._kernels.cull_interval)
            self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()

    async def cull(self) -> None:
        """Give notice of the kernels that are due soon; as the leader, shut down those that are due now."""
        for kernel_id in self._kernels.list_kernel_ids():
            try:
                kernel = self._kernels.get_kernel(kernel_id)
                if self._peers().is_leader():
                    await self._shut_down_if_due(kernel_id, kernel)
                if kernel_id in self._kernels:
                    self._give_notice(kernel_id, kernel)
            except Exception as error:  # noqa: BLE001 - the next kernel has to be checked as well
                _log.warning("Kernel %s cannot be culled: %s", kernel_id, summarize(error))

    def why_due(self, kernel_id: str) -> str:
        """Return why a kernel is due to be shut down, in sentences; "" if it is not."""
        cause = self._due(kernel_id, self._kernels.get_kernel(kernel_id))
        return "" if cause is None else cause[1]

    async def _shut_down_if_due(self, kernel_id: str, kernel: Any) -> None:
        if (due := self._due(kernel_id, kernel)) is None:
            self._announce(kernel_id, kernel)
            return
        cause, why = due
        _log.warning("Kernel %s (%s) is shut down. %s", kernel_id, kernel.kernel_name, why)
        connections = GatewayWebsocketConnection.of_kernel(kernel)
        kernel.announce(f"{why} It is being shut down.", ends_cell=True)
        with acting_because(_REASONS[cause]):
            await self._kernels.shutdown_kernel(kernel_id, why=f"{why} It was shut down.")
        self._metrics.culled(kernel.kernel_name, cause)
        for connection in connections:
            connection.report_end()

    def _due(self, kernel_id: str, kernel: Any) -> tuple[str, str] | None:
        """Return the cause for which a kernel is to be shut down now, for metrics and in sentences."""
        if kernel.execution_state == "dead" and self._limit(kernel, IDLE_TIMEOUT):
            return "dead", kernel.reason or "The kernel had ended."
        now = datetime.now(timezone.utc)
        for deadline in self._deadlines(kernel_id, kernel):
            if deadline.is_due(now):
                return deadline.cause, deadline.why
        return None

    def _deadlines(self, kernel_id: str, kernel: Any) -> Iterator[Deadline]:
        interval = self._kernels.cull_interval
        if limit := self._limit(kernel, MAX_LIFETIME):
            yield Deadline.of_lifetime(kernel.started, limit, interval=interval)
        if (limit := self._limit(kernel, IDLE_TIMEOUT)) and not self._is_in_use(kernel_id, kernel):
            yield Deadline.of_idleness(kernel.last_activity, limit, interval=interval)

    def _is_in_use(self, kernel_id: str, kernel: Any) -> bool:
        """Return whether a kernel may go on however long it has published nothing."""
        if kernel.execution_state == "busy" and not self._kernels.cull_busy:
            return True
        if self._kernels.cull_connected:
            return False
        here = self._kernels._kernel_connections.get(kernel_id, 0)
        return bool(here or self._peers().connections_elsewhere(kernel_id))

    def _give_notice(self, kernel_id: str, kernel: Any) -> None:
        """Inform connected clients, once for each deadline that is near."""
        now = datetime.now(timezone.utc)
        noticed = self._noticed.setdefault(kernel, {})
        for deadline in self._deadlines(kernel_id, kernel):
            is_news = noticed.get(deadline.cause) != deadline.at
            if is_news and deadline.is_near(now) and GatewayWebsocketConnection.of_kernel(kernel):
                noticed[deadline.cause] = deadline.at
                kernel.announce(deadline.announcement(now))

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
