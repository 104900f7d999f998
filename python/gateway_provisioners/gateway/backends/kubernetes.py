"""The back end for Kubernetes: kernelspecs, readiness, the kernels there, and the other gateways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.gateway.backends.annotation_writer import AnnotationWriter
from gateway_provisioners.gateway.backends.base import (
    check_response_server,
    retry_while_unavailable,
)
from gateway_provisioners.gateway.backends.reconciler import Reconciler
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.lease import Lease
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.pod.kernel_state import (
    LAST_ACTIVITY_ANNOTATION,
    STARTED_ANNOTATION,
    connected_annotation,
    connections_elsewhere,
)
from gateway_provisioners.provisioners.kubernetes_services import KubernetesServices


class KubernetesBackend:
    """A `Backend`, and the `Peers` of this gateway."""

    def __init__(self, parent: Any) -> None:
        self._services = KubernetesServices.of_running_loop(parent)
        self._kernelspecs: ObjectCache | None = None
        self._lease: Lease | None = None
        self._reconciler: Reconciler | None = None
        self._annotations: AnnotationWriter | None = None

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
        addresses: KernelAddresses,
    ) -> None:
        try:
            await retry_while_unavailable(self._services.acquire)
            self._services.pods.follow_addresses(addresses.report)
            health.add("pods", self._check_pods)
            health.add("response server", lambda: check_response_server(self._services))
            await self._follow_kernelspecs(kernelspecs)
            self._annotations = AnnotationWriter(self._services.pods.annotate)
            if name := self._services.gateway_lease:
                self._lease = self._services.lease(name)
                self._lease.start()
                self._services.gateways.subscribe(self._lease.wake)
            self._reconciler = Reconciler(
                kernels, self._services.pods, self._services.gateways, self.is_leader
            )
            kernels.peers = self
            await retry_while_unavailable(self._reconciler.start)
        except ClusterError as error:
            raise ConfigurationError(f"The cluster cannot be used: {error}") from error

    async def stop_leading(self) -> None:
        if self._lease is not None:
            await self._lease.release()
        if self._reconciler is not None:
            await self._reconciler.stop()

    async def detach(self) -> None:
        await self.stop_leading()
        if self._annotations is not None:
            await self._annotations.finish()
        if self._kernelspecs is not None:
            await self._kernelspecs.stop()
        # Kernels that go on have not released the services.
        await self._services.close()

    # Peers.

    def is_leader(self) -> bool:
        return self._lease is None or self._lease.held

    def connections_elsewhere(self, kernel_id: str) -> int:
        pods = self._services.pods
        return sum(
            connections_elsewhere(
                pods.cache.objects[pod.name],
                own=self._services.process,
                is_alive=self._services.gateways.is_alive,
            )
            for pod in pods.of_kernel(kernel_id)
        )

    def announce_connections(self, kernel_id: str, count: int) -> None:
        name = connected_annotation(self._services.process)
        self._announce(kernel_id, name, str(count) if count else None)

    def announce_activity(self, kernel_id: str, last_activity: str) -> None:
        self._announce(kernel_id, LAST_ACTIVITY_ANNOTATION, last_activity)

    def announce_started(self, kernel_id: str, started: str) -> None:
        self._announce(kernel_id, STARTED_ANNOTATION, started)

    async def store_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        await self._services.pods.store_ownership(kernel_id, ownership)

    async def find(self, kernel_id: str) -> None:
        if self._reconciler is not None:
            await self._reconciler.find(kernel_id)

    async def cancel_start(self, kernel_id: str, may_cancel: Callable[[Ownership], bool]) -> bool:
        return await self._services.pods.cancel_start(kernel_id, may_cancel)

    def _announce(self, kernel_id: str, annotation: str, value: str | None) -> None:
        if self._annotations is not None:
            for pod in self._services.pods.of_kernel(kernel_id):
                self._annotations.announce(pod.name, annotation, value)

    async def _follow_kernelspecs(self, kernelspecs: GatewayKernelSpecManager) -> None:
        if name := self._services.kernelspecs_config_map:
            self._kernelspecs = self._services.config_map_cache(name)
            self._kernelspecs.start()
            await self._kernelspecs.wait_synced()
            kernelspecs.follow(self._kernelspecs)

    def _check_pods(self) -> Check:
        fresh = self._services.pods.cache.fresh
        return Check(fresh, "" if fresh else "the watch of pods is broken")
