"""The gateway's hold on its cluster: kernelspecs, readiness, and the kernels it finds there."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.host import settings
from gateway_provisioners.host.failures import in_one_line
from gateway_provisioners.host.health import Check, HealthChecks
from gateway_provisioners.host.kernel_manager import GatewayKernelManager
from gateway_provisioners.host.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.provisioners.kubernetes import KubernetesProvisioner
from gateway_provisioners.provisioners.services import KubernetesServices

_NOT_FOUND = 404

_log = logging.getLogger(__name__)


class Cluster:
    """Follows the cluster from `attach` to `detach`."""

    def __init__(self, parent: Any) -> None:
        self._services = KubernetesServices.of_running_loop(parent)
        self._kernelspecs: ObjectCache | None = None

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
    ) -> None:
        """Begin to follow the cluster; take over the kernels that an earlier process left running.

        Raises:
            ConfigurationError: the cluster cannot be reached, or does not let us in.
        """
        try:
            await self._services.acquire()
        except ClusterError as error:
            raise ConfigurationError(f"The cluster cannot be used: {error}") from error
        health.add("pods", self._check_pods)
        health.add("response server", self._check_response_server)
        if name := settings.text("GP_KERNELSPECS_CONFIGMAP"):
            self._kernelspecs = self._services.config_map_cache(name)
            self._kernelspecs.start()
            await self._kernelspecs.wait_synced()
            kernelspecs.follow(self._kernelspecs)
        self._services.remove_unfinished_launches()
        for pod in self._services.running_kernels():
            await self._adopt_if_possible(kernels, pod)

    async def detach(self) -> None:
        """Stop following; kernels go on."""
        if self._kernelspecs is not None:
            await self._kernelspecs.stop()
        await self._services.release()

    async def _adopt_if_possible(self, kernels: GatewayKernelManager, pod: str) -> None:
        try:
            record = await self._services.pods.record(pod)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise ConfigurationError(f"The Secret of kernel pod {pod}: {error}") from error
            record = None
        if record is None:
            _log.warning("Pod %s has no record of its kernel; it is removed.", pod)
            self._services.pods.remove_soon(pod, grace_seconds=0)
            return
        try:
            await self._adopt(kernels, pod, record)
        except Exception as error:  # noqa: BLE001 - one record must not keep the others' gateway away
            _log.error(
                "Kernel pod %s cannot be taken over and is left as it is: %s",
                pod,
                in_one_line(error),
            )

    async def _adopt(self, kernels: GatewayKernelManager, pod: str, record: dict[str, Any]) -> None:
        async def restore(provisioner: Any) -> None:
            assert isinstance(provisioner, KubernetesProvisioner)  # noqa: S101 - its spec says so
            await provisioner.adopt(pod, record)

        await kernels.adopt(
            kernel_id=record["kernel_id"],
            kernel_name=record["kernel_name"],
            kernel_spec=KernelSpec(resource_dir="", **record["kernel_spec"]),
            env=record["environment"],
            restore=restore,
        )

    def _check_pods(self) -> Check:
        fresh = self._services.pods.pods.fresh
        return Check(fresh, "" if fresh else "the watch of pods is broken")

    def _check_response_server(self) -> Check:
        server = self._services.response_server
        return Check(server.listening, server.response_address)
