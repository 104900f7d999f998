"""The parts that all kernel pods of a process share: one API connection, one watch."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.gateways import Gateways
from gateway_provisioners.kube.lease import Lease
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.provisioners.engine_services import EngineServices
from gateway_provisioners.provisioners.engine_traits import KubernetesTraits
from gateway_provisioners.provisioners.response_route import is_loopback


class KubernetesServices(EngineServices, KubernetesTraits):
    """The services of processes whose kernels are pods."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.process = uuid.uuid4().hex[:12]
        """The name of this process in what it writes into pods; never used before or again."""
        self._gateways: Gateways | None = None
        self._api: KubeApi | None = None
        self._pods: KernelPods | None = None
        self.owner: dict[str, Any] | None = None
        """The ownerReference that every kernel pod carries, or None."""

    @property
    def outlives_process(self) -> bool:
        return self.instance_is_lasting

    @property
    def pods(self) -> KernelPods:
        assert self._pods is not None, "not acquired"  # noqa: S101
        return self._pods

    @property
    def gateways(self) -> Gateways:
        assert self._gateways is not None, "not acquired"  # noqa: S101
        return self._gateways

    def config_map_cache(self, name: str) -> ObjectCache:
        """Return a cache of the ConfigMap `name` in the kernels' namespace, not yet started."""
        assert self._api is not None, "not acquired"  # noqa: S101
        collection = self._api.collection(
            "ConfigMap", self.namespace, field_selector=f"metadata.name={name}"
        )
        return ObjectCache(f"ConfigMap {name}", collection)

    def lease(self, name: str) -> Lease:
        """Return a Lease of the gateways of this release, not yet started."""
        assert self._api is not None, "not acquired"  # noqa: S101
        return Lease(
            self._api,
            self.namespace,
            name,
            holder=self.process,
            owner=self.owner,
            is_alive=self.gateways.is_alive,
        )

    async def hosts_near_kernels(self) -> Sequence[str]:
        assert self._api is not None, "not acquired"  # noqa: S101
        host = self._api.host
        # A tunnel, or the port of a cluster in containers of this machine, is not where its pods are.
        return [host] if host and not is_loopback(host) else []

    async def start_engine(self) -> None:
        self._api = await KubeApi.connect()
        self.owner = await self._owner_reference(self._api)
        self._gateways = Gateways(
            self._api,
            self.gateway_namespace,
            selector=self.gateway_selector,
            own_pod=self.gateway_pod,
            process=self.process,
            patches_pods=self.gateway_namespace == self.namespace,
        )
        await self._gateways.start()
        self._pods = KernelPods(
            self._api,
            self.namespace,
            instance=self.instance,
            process=self.process,
            quota=self.quota,
            prohibited_account=(
                self.gateway_service_account if self.namespace == self.gateway_namespace else ""
            ),
        )
        await self._pods.start()

    async def stop_engine(self) -> None:
        if self._pods is not None:
            await self._pods.stop()
            self._pods = None
        if self._gateways is not None:
            await self._gateways.stop()
            self._gateways = None
        if self._api is not None:
            await self._api.close()
            self._api = None

    async def _owner_reference(self, api: KubeApi) -> dict[str, Any] | None:
        if self.owner_config_map:
            kind, version, name = "ConfigMap", "v1", self.owner_config_map
            owner = await api.read_config_map(self.namespace, name)
        elif self.owner_deployment:
            kind, version, name = "Deployment", "apps/v1", self.owner_deployment
            owner = await api.read_deployment(self.namespace, name)
        else:
            return None
        return {"apiVersion": version, "kind": kind, "name": name, "uid": owner["metadata"]["uid"]}
