"""The parts of a process that all its kernels share: one API connection, one watch, one response server.

They are made by whoever needs them first on an event loop and closed by the last to let go. The gateway
holds on to them for its lifetime; a script with one kernel is done with them when the kernel is.
"""

from __future__ import annotations

import asyncio
import uuid
import weakref
from typing import Any

from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.gateways import Gateways
from gateway_provisioners.kube.lease import Lease
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.admission import Limits
from gateway_provisioners.provisioners.traits import KubernetesTraits

_of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, KubernetesServices] = (
    weakref.WeakKeyDictionary()
)


class KubernetesServices(KubernetesTraits):
    """Everything process-wide; get it with `of_running_loop`, then `acquire` and `release`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holders = 0
        self._lock = asyncio.Lock()
        self.process = uuid.uuid4().hex[:12]
        """The name of this process, in what it writes into pods: unique over all times."""
        self._gateways: Gateways | None = None
        self._api: KubeApi | None = None
        self._pods: KernelPods | None = None
        self._response_server: ResponseServer | None = None
        self._owner: dict[str, Any] | None = None

    @classmethod
    def of_running_loop(cls, parent: Any = None) -> KubernetesServices:
        """The services of the running event loop; `parent` configures them when they are new."""
        loop = asyncio.get_running_loop()
        if loop not in _of_loop:
            _of_loop[loop] = cls(parent=parent)
        return _of_loop[loop]

    @property
    def pods(self) -> KernelPods:
        assert self._pods is not None, "not acquired"  # noqa: S101
        return self._pods

    @property
    def gateways(self) -> Gateways:
        assert self._gateways is not None, "not acquired"  # noqa: S101
        return self._gateways

    @property
    def response_server(self) -> ResponseServer:
        assert self._response_server is not None, "not acquired"  # noqa: S101
        return self._response_server

    @property
    def owner(self) -> dict[str, Any] | None:
        """The ownerReference that every kernel pod carries, or None."""
        return self._owner

    async def acquire(self) -> None:
        """Start everything, or count one more holder.

        Raises:
            ConfigurationError: there is no cluster, or the response port cannot be had.
            ClusterError: the cluster does not let us in.
        """
        async with self._lock:
            if not self._holders:
                try:
                    await self._start()
                except BaseException:
                    await self._stop()
                    raise
            self._holders += 1

    async def release(self) -> None:
        """Count one holder less, and stop everything when it was the last."""
        async with self._lock:
            self._holders -= 1
            if not self._holders:
                await self._stop()

    async def close(self) -> None:
        """Stop everything, whoever still holds on to it: for a process that ends."""
        async with self._lock:
            self._holders = 0
            await self._stop()

    def config_map_cache(self, name: str) -> ObjectCache:
        """A cache of the one ConfigMap `name` in the kernels' namespace, not yet started."""
        assert self._api is not None, "not acquired"  # noqa: S101
        collection = self._api.collection(
            "ConfigMap", self.namespace, field_selector=f"metadata.name={name}"
        )
        return ObjectCache(f"ConfigMap {name}", collection)

    def lease(self, name: str) -> Lease:
        """A Lease of the gateways of this release, for which this process does not contend yet."""
        assert self._api is not None, "not acquired"  # noqa: S101
        return Lease(
            self._api,
            self.namespace,
            name,
            holder=self.process,
            owner=self._owner,
            is_alive=self.gateways.is_alive,
        )

    async def _start(self) -> None:
        self._api = await KubeApi.connect()
        self._owner = await self._owner_reference(self._api)
        self._gateways = Gateways(
            self._api,
            self.gateway_namespace,
            selector=self.gateway_selector,
            own_pod=self.gateway_pod,
            process=self.process,
        )
        await self._gateways.start()
        self._pods = KernelPods(
            self._api,
            self.namespace,
            instance=self.instance,
            process=self.process,
            limits=Limits(self.max_kernels, self.max_kernels_per_user),
        )
        await self._pods.start()
        self._response_server = ResponseServer(
            ip=self.response_ip,
            port=self.response_port,
            port_retries=self.response_port_retries,
            gateway_key=await asyncio.to_thread(GatewayKey.generate),
            bind_any=self.response_addr_any,
        )
        await self._response_server.start()

    async def _stop(self) -> None:
        if self._response_server is not None:
            await self._response_server.stop()
            self._response_server = None
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
