"""Ends kernels that nobody uses any more, and those that have run for as long as they may."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import PeriodicCallback
from traitlets import default

from gateway_provisioners.gateway.failures import in_one_line
from gateway_provisioners.gateway.kernels.peers import Peers
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.settings import from_env

# Of a kernelspec's `metadata`, in seconds. The first is jupyter_server's own.
IDLE_TIMEOUT = "cull_idle_timeout"
MAX_LIFETIME = "max_lifetime"

_log = logging.getLogger(__name__)


class CullingKernelManager(AsyncMappingKernelManager):
    """jupyter_server's culling, for several gateways, with a limit of each kernel's own.

    A kernelspec's `metadata` says how long its kernels may be idle, and how long they may live; kernels
    keep what held when they started. Every `cull_interval` seconds one of the gateways looks.
    """

    metrics: GatewayMetrics
    peers: Peers
    _culler_callback: PeriodicCallback | None

    cull_idle_timeout = from_env(
        "GP_CULL_IDLE_TIMEOUT",
        0,
        "How long a kernel may be idle before it is ended; 0: forever. A kernelspec's "
        "`metadata.cull_idle_timeout` comes before it.",
        unit="seconds",
    )
    cull_interval = from_env(
        "GP_CULL_INTERVAL",
        300,
        "How often to look for kernels that are to be ended.",
        unit="seconds",
        min=1,
    )
    cull_connected = from_env(
        "GP_CULL_CONNECTED", False, "End idle kernels also while clients are connected to them."
    )

    @default("untracked_message_types")
    def _untracked_message_types_default(self) -> list[str]:
        # How a kernel greets whoever begins to listen is no use of it: each gateway that starts does.
        upstream = AsyncMappingKernelManager.untracked_message_types
        return [*upstream.default(), "iopub_welcome"]

    def track_message_type(self, message_type: str | None) -> bool:
        """Whether such a message tells of use; None stands for the request where there was none.

        Upstream takes whatever answers no request for activity, that greeting as well.
        """
        return message_type is not None and bool(super().track_message_type(message_type))

    def initialize_culler(self) -> None:
        """Begin to look at the kernels, once.

        Upstream does so only if there is an idle timeout for all kernels.
        """
        if self._culler_callback is None:
            culler = PeriodicCallback(self.cull_kernels, 1000 * self.cull_interval)
            culler.start()
            self._culler_callback = culler
        self._initialized_culler = True

    async def cull_kernels(self) -> None:
        """End the kernels that are due, unless another gateway does that."""
        if not self.is_leader():
            return
        for kernel_id in list(self._kernels):
            try:
                if not await self._end_if_too_old(kernel_id):
                    await self.cull_kernel_if_idle(kernel_id)
                self._tell_of(kernel_id)
            except Exception as error:  # noqa: BLE001 - the next kernel has to be looked at as well
                _log.warning("Kernel %s cannot be culled: %s", kernel_id, in_one_line(error))

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel if nobody uses it."""
        kernel = self.get_kernel(kernel_id)
        if not self._seconds(kernel, IDLE_TIMEOUT):
            return
        dead = kernel.execution_state == "dead"
        if not dead and not self.cull_connected and self.peers.connections_elsewhere(kernel_id):
            return
        await super().cull_kernel_if_idle(kernel_id)
        if kernel_id not in self:
            self.metrics.culled(kernel.kernel_name, "dead" if dead else "idle")

    async def _end_if_too_old(self, kernel_id: str) -> bool:
        kernel = self.get_kernel(kernel_id)
        most = self._seconds(kernel, MAX_LIFETIME)
        age = datetime.now(timezone.utc) - kernel.started
        if not most or age < timedelta(seconds=most):
            return False
        _log.warning(
            "Kernel %s (%s) has run for %d seconds and is ended: it may run for %d (%s).",
            kernel_id,
            kernel.kernel_name,
            age.total_seconds(),
            most,
            MAX_LIFETIME,
        )
        connections = GatewayWebsocketConnection.of_kernel(kernel)
        for connection in connections:
            connection.write_stderr(
                f"The kernel is ended: it may run for {most} seconds ({MAX_LIFETIME}).", {}
            )
        await self.shutdown_kernel(kernel_id)
        self.metrics.culled(kernel.kernel_name, "lifetime")
        for connection in connections:
            connection.tell_of_end()
        return True

    def _tell_of(self, kernel_id: str) -> None:
        """Let the other gateways know what they need to go on with if this one goes."""
        if kernel_id not in self:
            return
        kernel = self.get_kernel(kernel_id)
        if self._seconds(kernel, MAX_LIFETIME):
            self.peers.tell_started(kernel_id, kernel.started.isoformat())
        if self._seconds(kernel, IDLE_TIMEOUT):
            self.peers.tell_activity(kernel_id, kernel.last_activity.isoformat())

    def _seconds(self, kernel: Any, key: str) -> int:
        """A limit of a kernel; 0 where it has none."""
        metadata: Mapping[str, Any] = kernel.kernel_spec.metadata
        fallback = self.cull_idle_timeout if key == IDLE_TIMEOUT else 0
        return max(0, int(metadata.get(key, fallback)))

    def is_leader(self) -> bool:
        """Whether this gateway looks after dead and idle kernels; called by the kernels."""
        return self.peers.is_leader()
