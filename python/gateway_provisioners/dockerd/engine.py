"""One Docker engine: its connection, its one stream of events, and the kernels on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.events import EventStream
from gateway_provisioners.dockerd.kernels import Kernels
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.dockerd.swarm import ServiceKernels
from gateway_provisioners.model.names import slug
from gateway_provisioners.model.recovery import plan_recovery

Object = dict[str, Any]


class DockerEngine:
    """Follows an engine from `start` to `stop`; make it with `connect`."""

    def __init__(self, api: DockerApi, records: Records, *, instance: str, keep: bool) -> None:
        self._api = api
        self._records = records
        self.containers = ContainerKernels(api, records, instance=instance, keep=keep)
        self.services = ServiceKernels(api, records, instance=instance, keep=keep)
        self._events = EventStream(api, relist=self._relist, listener=self._on_event)

    @classmethod
    async def connect(cls, *, instance: str, state_dir: str, keep: bool) -> DockerEngine:
        """Connect.

        Args:
            instance: whose kernels.
            state_dir: the folder for what outlives this process; "" where nothing does.
            keep: whether containers that have ended stay.

        Raises:
            ConfigurationError: there is no engine, or the folder cannot be used.
            EngineError: the engine does not answer.
        """
        records = Records(Path(state_dir) / slug(instance, max_length=63) if state_dir else None)
        await records.open()
        return cls(await DockerApi.connect(), records, instance=instance, keep=keep)

    @property
    def fresh(self) -> bool:
        """Whether what is known is as new as the engine's last event."""
        return self._events.fresh

    async def start(self) -> None:
        """Begin to follow; returns when the kernels' containers are known."""
        self.services.start()
        await self._events.start()

    async def stop(self) -> None:
        """Stop following; kernels stay untouched, removals under way are finished first."""
        await asyncio.gather(self.containers.background.finish(), self.services.background.finish())
        await self.services.stop()
        await self._events.stop()
        await self._api.close()

    async def recover(self) -> dict[str, Object]:
        """Remove what an earlier process left half done; returns the records of its kernels by name.

        Raises:
            EngineError: the engine does not answer.
        """
        kinds: list[Kernels] = [self.containers]
        if await self._api.is_swarm_manager():
            kinds.append(self.services)
        kind_of = {name: kind for kind in kinds for name in await kind.names()}
        stored = await self._records.read_all()
        plan = plan_recovery(stored, kind_of)
        for name in plan.forget:
            await self._records.remove(name)
        for name in plan.remove:
            kind_of[name].end_soon(name, grace_seconds=0)
        # What they are has to be known before somebody asks whether they live.
        self.services.follow(name for name in plan.adopt if kind_of.get(name) is self.services)
        await self.services.relist()
        return {name: stored[name]["record"] for name in plan.adopt}

    async def _relist(self) -> None:
        await self.containers.relist()
        await self.services.relist()

    def _on_event(self, event: Object) -> None:
        self.containers.on_event(event)
        self.services.on_event(event)
