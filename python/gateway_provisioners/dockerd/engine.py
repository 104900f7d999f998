"""One Docker engine: its connection, its one stream of events, and the kernels on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway_provisioners.dockerd.admission import Admission
from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.events import EventStream
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.dockerd.swarm import ServiceKernels
from gateway_provisioners.model.container.networks import DEFAULT_NETWORK, network_addresses
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.quota import KernelQuota
from gateway_provisioners.model.recovery import StoredKernel, plan_recovery

_log = logging.getLogger(__name__)


class DockerEngine:
    """Follows an engine from `start` to `stop`; make it with `connect`."""

    def __init__(
        self,
        api: DockerApi,
        *,
        instance: str,
        records: Records,
        keep: bool,
        quota: KernelQuota = KernelQuota(),  # noqa: B008 - frozen
    ) -> None:
        self._api = api
        self.records = records
        shared = {
            "instance": instance,
            "records": records,
            "admission": Admission(quota),
            "keep": keep,
        }
        self.containers = ContainerKernels(api, **shared)
        self.services = ServiceKernels(api, **shared)
        self._events = EventStream(api, relist=self._relist, listener=self._on_event)

    @classmethod
    async def connect(
        cls,
        *,
        instance: str,
        state_folder: Path | None = None,
        keep: bool,
        quota: KernelQuota = KernelQuota(),  # noqa: B008 - frozen
    ) -> DockerEngine:
        """Connect to the engine.

        Args:
            instance: the kernels' value of a label.
            state_folder: stores what a later process needs to adopt them; None: nothing is stored.
            keep: whether containers that have ended stay, for inspection.
            quota: the most that the kernels may be, and use, at once.

        Raises:
            ConfigurationError: no engine is found.
            EngineError: the engine does not answer.
        """
        records = Records(state_folder, instance=instance)
        api = await DockerApi.connect()
        return cls(api, instance=instance, records=records, keep=keep, quota=quota)

    @property
    def fresh(self) -> bool:
        """True if the known states are up to date: the stream of events is not broken."""
        return self._events.fresh

    def follow_addresses(self, listener: Callable[[str, Sequence[str]], None]) -> None:
        """Call `listener` with a workload's name and addresses: for each one now, and on each change."""
        self.containers.follow_addresses(listener)
        self.services.follow_addresses(listener)

    async def hosts_near(self, network: str) -> Sequence[str]:
        """Return addresses, or a host's name, that lie where the containers of a network do, the best first.

        Raises:
            EngineError: the engine did not answer.
        """
        if own := network_addresses(await self._api.inspect_network(network) or {}):
            return own
        # Containers in their host's network, and those whose network is made on demand, reach every address
        # of that host, such as the one on its usual bridge.
        if self._api.remote_host:
            return [self._api.remote_host]
        return network_addresses(await self._api.inspect_network(DEFAULT_NETWORK) or {})

    async def start(self) -> None:
        """Begin to follow the engine; returns when the kernels' containers are known.

        Raises:
            ConfigurationError: the state folder cannot be used.
        """
        await self.records.open()
        self.services.start()
        await self._events.start()

    async def stop(self) -> None:
        """Stop following, after the removals under way; kernels stay untouched."""
        # First: an event during the removals would begin an inspection that outlives the connection.
        await self._events.stop()
        await asyncio.gather(self.containers.stop(), self.services.stop())
        self.records.close()
        await self._api.close()

    async def recover(self) -> Mapping[str, StoredKernel]:
        """Remove what earlier processes left unfinished; return the kernels to adopt, by workload.

        Raises:
            EngineError: the engine did not answer.
        """
        kinds = (self.containers, self.services)
        existing = {name: kernels for kernels in kinds for name in await kernels.existing()}
        newer = self.records.newer
        plan = plan_recovery(self.records.stored, existing, newer=newer)
        for name in plan.forget:
            await self.records.forget(name)
        for name in plan.remove:
            _log.warning("Removing orphaned workload %s.", name)
            existing[name].remove_soon(name, grace_seconds=0)
        for kernels in kinds:
            for name in await kernels.leftovers() - newer.keys():
                kernels.remove_soon(name, grace_seconds=0)
        return {name: self.records.stored[name] for name in plan.adopt}

    async def _relist(self) -> None:
        await self.containers.relist()
        await self.services.relist()

    def _on_event(self, event: Object) -> None:
        self.containers.on_event(event)
        self.services.on_event(event)
