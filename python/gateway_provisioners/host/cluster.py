"""The gateway's hold on its cluster: kernelspecs, readiness, the kernels there, and the other gateways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.host import settings
from gateway_provisioners.host.announcements import Announcements
from gateway_provisioners.host.engine import response_server_check
from gateway_provisioners.host.health import Check, HealthChecks
from gateway_provisioners.host.kernel_manager import GatewayKernelManager
from gateway_provisioners.host.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.host.reconciler import Reconciler
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.lease import Lease
from gateway_provisioners.model.kernel_state import (
    LAST_ACTIVITY_ANNOTATION,
    STARTED_ANNOTATION,
    connected_annotation,
    connections_elsewhere,
)
from gateway_provisioners.provisioners.services import KubernetesServices

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Cluster:
    """Follows the cluster, as an `Engine` does; what `Sharing` asks of the other gateways."""

    def __init__(self, parent: Any) -> None:
        self._services = KubernetesServices.of_running_loop(parent)
        self._kernelspecs: ObjectCache | None = None
        self._lease: Lease | None = None
        self._reconciler: Reconciler | None = None
        self._announcements: Announcements | None = None

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
    ) -> None:
        """Begin to follow the cluster; take over the kernels that run there.

        Raises:
            ConfigurationError: the cluster cannot be reached, or does not let us in.
        """
        try:
            await _patiently(self._services.acquire)
            health.add("pods", self._check_pods)
            health.add("response server", response_server_check(self._services))
            await self._follow_kernelspecs(kernelspecs)
            self._announcements = Announcements(self._services.pods.annotate)
            if name := settings.text("GP_LEASE"):
                self._lease = self._services.lease(name)
                self._lease.start()
                self._services.gateways.subscribe(self._lease.look_again)
            self._reconciler = Reconciler(
                kernels, self._services.pods, self._services.gateways, self.leads
            )
            kernels.sharing = self
            await _patiently(self._reconciler.start)
        except ClusterError as error:
            raise ConfigurationError(f"The cluster cannot be used: {error}") from error

    async def yield_duties(self) -> None:
        """Leave dead and idle kernels to the other gateways from now on."""
        if self._lease is not None:
            await self._lease.release()
        if self._reconciler is not None:
            await self._reconciler.stop()

    async def detach(self) -> None:
        """Stop following; kernels go on."""
        await self.yield_duties()
        if self._announcements is not None:
            await self._announcements.finish()
        if self._kernelspecs is not None:
            await self._kernelspecs.stop()
        # The kernels that go on hold on to them.
        await self._services.close()

    # Sharing.

    def leads(self) -> bool:
        return self._lease is None or self._lease.held

    def connections_elsewhere(self, kernel_id: str) -> int:
        pods = self._services.pods
        return sum(
            connections_elsewhere(
                pods.pods.objects[pod.name],
                own=self._services.process,
                is_alive=self._services.gateways.is_alive,
            )
            for pod in pods.of_kernel(kernel_id)
        )

    def tell_connections(self, kernel_id: str, count: int) -> None:
        name = connected_annotation(self._services.process)
        self._announce(kernel_id, name, str(count) if count else None)

    def tell_activity(self, kernel_id: str, last_activity: str) -> None:
        self._announce(kernel_id, LAST_ACTIVITY_ANNOTATION, last_activity)

    def tell_started(self, kernel_id: str, started: str) -> None:
        self._announce(kernel_id, STARTED_ANNOTATION, started)

    async def find(self, kernel_id: str) -> None:
        if self._reconciler is not None:
            await self._reconciler.find(kernel_id)

    def _announce(self, kernel_id: str, annotation: str, value: str | None) -> None:
        if self._announcements is not None:
            for pod in self._services.pods.of_kernel(kernel_id):
                self._announcements.announce(pod.name, annotation, value)

    async def _follow_kernelspecs(self, kernelspecs: GatewayKernelSpecManager) -> None:
        if name := settings.text("GP_KERNELSPECS_CONFIGMAP"):
            self._kernelspecs = self._services.config_map_cache(name)
            self._kernelspecs.start()
            await self._kernelspecs.wait_synced()
            kernelspecs.follow(self._kernelspecs)

    def _check_pods(self) -> Check:
        fresh = self._services.pods.pods.fresh
        return Check(fresh, "" if fresh else "the watch of pods is broken")


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step that needs an API server, and wait for one that does not answer.

    Raises:
        ClusterError: it answered, and refused.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await step()
        except ClusterError as error:
            refused = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
            if (
                refused and error.status != HTTPStatus.TOO_MANY_REQUESTS
            ):  # one that has just started
                raise
            _log.warning("The cluster cannot be used yet: %s", error)
            await asyncio.sleep(pause)  # no event tells that the API server is back
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return
