"""One Docker engine: its connection, its one stream of events, and the kernels on it."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.events import EventStream
from gateway_provisioners.dockerd.swarm import ServiceKernels


class DockerEngine:
    """Follows an engine from `start` to `stop`; make it with `connect`."""

    def __init__(self, api: DockerApi, *, instance: str, keep: bool) -> None:
        self._api = api
        self.containers = ContainerKernels(api, instance=instance, keep=keep)
        self.services = ServiceKernels(api, instance=instance, keep=keep)
        self._events = EventStream(api, relist=self._relist, listener=self._on_event)

    @classmethod
    async def connect(cls, *, instance: str, keep: bool) -> DockerEngine:
        """Connect.

        Args:
            instance: whose kernels.
            keep: whether containers that have ended stay.

        Raises:
            ConfigurationError: there is no engine.
            EngineError: the engine does not answer.
        """
        return cls(await DockerApi.connect(), instance=instance, keep=keep)

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

    async def _relist(self) -> None:
        await self.containers.relist()
        await self.services.relist()

    def _on_event(self, event: dict[str, Any]) -> None:
        self.containers.on_event(event)
        self.services.on_event(event)
