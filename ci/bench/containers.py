"""Requests to the Docker engine, and containers that do nothing, which are a baseline."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import aiodocker
from aiodocker.containers import DockerContainer

_GONE = (404, 409)  # gone already, or going


class Containers:
    """All containers whose names begin with a prefix."""

    def __init__(self, docker: aiodocker.Docker, prefix: str) -> None:
        self._docker = docker
        self._prefix = prefix

    async def _all(self) -> list[DockerContainer]:
        return await self._docker.containers.list(
            all=True, filters={"name": [f"^/?{self._prefix}"]}
        )

    async def removal(self) -> asyncio.Future[list[None]]:
        """Return a future that is done when all containers of now are gone."""
        return asyncio.gather(
            *(_unless_gone(each.wait(condition="removed")) for each in await self._all())
        )

    async def remove(self) -> None:
        """Kill and remove all of them."""
        for container in await self._all():
            await _unless_gone(container.delete(force=True, v=True))


class BareContainers(Containers):
    """Containers of the kernel's image in which nothing but `sleep` runs."""

    def __init__(self, docker: aiodocker.Docker, prefix: str, image: str) -> None:
        super().__init__(docker, prefix)
        self._image = image

    async def start(self) -> float:
        """Return the seconds from a container's POST until the engine says that it has started."""
        config = {"Image": self._image, "Entrypoint": ["sleep"], "Cmd": ["infinity"]}
        name = f"{self._prefix}{uuid.uuid4()}"
        begin = time.perf_counter()
        container = await self._docker.containers.create(config, name=name)
        await container.start()
        return time.perf_counter() - begin


async def _unless_gone(call: Awaitable[object]) -> None:
    try:
        await call
    except aiodocker.DockerError as error:
        if error.status not in _GONE:
            raise


@asynccontextmanager
async def engine_api(host: str) -> AsyncIterator[aiodocker.Docker]:
    """Open an engine's API for the length of the block; `host` is as DOCKER_HOST has it."""
    docker = aiodocker.Docker(url=host)
    try:
        yield docker
    finally:
        await docker.close()
