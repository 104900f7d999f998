"""The images of kernels: those that an engine has, and those that it has to pull."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status

Object = dict[str, Any]

# A pull goes on when the last kernel of this process is gone, and its connection with it.
_under_way: set[asyncio.Task[None]] = set()


class Images:
    """Pulls each image once, for all kernels that wait for it, and on when none does any more."""

    def __init__(self, api: DockerApi) -> None:
        self._api = api
        self._pulls: dict[str, asyncio.Task[None]] = {}

    async def get(self, name: str, *, pull_policy: str, timeout: float | None) -> Object:
        """The inspected image, pulled where the policy says so.

        Args:
            pull_policy: as in a container's spec on Kubernetes.
            timeout: seconds to wait for a pull, which goes on after them; None: as long as it takes.

        Raises:
            LaunchFailed: it cannot be had, or not in time.
            EngineError: the engine does not answer.
        """
        image = await self._api.image(name)
        missing = image is None and pull_policy != "Never"
        if missing or pull_policy == "Always":
            await self._pulled(name, timeout)
            image = await self._api.image(name)
        if image is None:
            failure = container_status.image_missing(name, "the engine does not have it")
            raise LaunchFailed(failure.reason, failure.message)
        return image

    async def _pulled(self, name: str, timeout: float | None) -> None:
        pull = self._pulls.get(name)
        if pull is None:
            pull = asyncio.create_task(self._pull(name), name=f"pull {name}")
            self._pulls[name] = pull
            _under_way.add(pull)
            pull.add_done_callback(_ended)
        done, _ = await asyncio.wait({pull}, timeout=timeout)
        if not done:
            msg = (
                f"Its image {name!r} is still being pulled after {timeout:g} seconds. The engine goes "
                "on with that: start the kernel again in a while."
            )
            raise LaunchFailed("Timeout", msg)
        try:
            pull.result()
        except EngineError as error:
            if not error.status:
                raise
            failure = container_status.image_missing(name, str(error))
            raise LaunchFailed(failure.reason, failure.message) from error

    async def _pull(self, name: str) -> None:
        try:
            api = await DockerApi.connect()
            try:
                await api.pull(name)
            finally:
                await api.close()
        finally:
            del self._pulls[name]


def _ended(pull: asyncio.Task[None]) -> None:
    _under_way.discard(pull)
    if not pull.cancelled():
        pull.exception()  # where nobody waits any more, the next who does is told
