"""One Docker engine: its connection, its one stream of events, and the kernels on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.events import EventStream
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.dockerd.swarm import ServiceKernels
from gateway_provisioners.model.recovery import KernelRecord, plan_recovery


class DockerEngine:
    """Follows an engine from `start` to `stop`; make it with `connect`."""

    def __init__(self, api: DockerApi, records: Records, *, instance: str, keep: bool) -> None:
        self._api = api
        self.records = records
        self.containers = ContainerKernels(api, records, instance=instance, keep=keep)
        self.services = ServiceKernels(api, records, instance=instance, keep=keep)
        self._events = EventStream(api, relist=self._relist, listener=self._on_event)

    @classmethod
    async def connect(cls, *, instance: str, keep: bool, state_dir: str = "") -> DockerEngine:
        """Connect.

        Args:
            instance: whose kernels.
            keep: whether containers that have ended stay.
            state_dir: the folder of what a later process must know of them; "" where there is none.

        Raises:
            ConfigurationError: there is no engine, or the folder cannot be used.
            EngineError: the engine does not answer.
        """
        records = Records(Path(state_dir) if state_dir else None, instance=instance)
        try:
            await records.open()
            api = await DockerApi.connect()
        except BaseException:
            await records.close()
            raise
        return cls(api, records, instance=instance, keep=keep)

    @property
    def fresh(self) -> bool:
        """Whether what is known is as new as the engine's last event."""
        return self._events.fresh

    async def start(self) -> None:
        """Begin to follow; returns when the kernels' containers are known."""
        self.services.start()
        await self._events.start()

    async def recover(self) -> dict[str, KernelRecord]:
        """Remove what an earlier process left half done; returns the records of its kernels by id.

        Raises:
            EngineError: the engine did not answer.
        """
        containers = set(await self.containers.workloads())
        services, secrets = set[str](), set[str]()
        if await self._api.is_swarm_manager():
            services = set(await self.services.workloads())
            secrets = set(await self.services.secrets())
        stored = self.records.all()
        plan = plan_recovery(stored, workloads=containers | services, parts=secrets)
        for kernel_id in plan.drop:
            await self.records.forget(kernel_id, workload=stored[kernel_id].workload)
        for name in plan.remove:
            kind = self.containers if name in containers else self.services
            kind.end_soon(name, grace_seconds=0)
        # What they are has to be known before somebody asks whether they live.
        kernels = {kernel_id: stored[kernel_id] for kernel_id in plan.adopt}
        self.services.follow(*services & {record.workload for record in kernels.values()})
        await self.services.relist()
        return kernels

    async def stop(self) -> None:
        """Stop following; kernels stay untouched, removals under way are finished first."""
        await asyncio.gather(self.containers.background.finish(), self.services.background.finish())
        await self.services.stop()
        await self._events.stop()
        await self.records.close()
        await self._api.close()

    async def _relist(self) -> None:
        await self.containers.relist()
        await self.services.relist()

    def _on_event(self, event: dict[str, Any]) -> None:
        self.containers.on_event(event)
        self.services.on_event(event)
