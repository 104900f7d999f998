"""The images of kernels, which the engine has or has to pull."""

from __future__ import annotations

import asyncio

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.model.objects import Object

# A pull goes on after the last kernel of this process is gone, and the kernels' connection with it.
_under_way: set[asyncio.Task[None]] = set()


class Images:
    """Pulls each image once for all kernels that wait for it, to the end even if they stop waiting."""

    def __init__(self, api: DockerApi) -> None:
        self._api = api
        self._pulls: dict[str, asyncio.Task[None]] = {}

    async def get(
        self, name: str, *, pull_policy: str, timeout: float | None, progress: LaunchProgress
    ) -> Object:
        """Return the inspected image, pulled if the policy says so.

        Args:
            pull_policy: as in a container's spec on Kubernetes.
            timeout: seconds to wait for a pull, which goes on afterwards; None: no limit.
            progress: takes that it is being pulled.

        Raises:
            LaunchFailed: it cannot be pulled, or not in time.
            EngineError: the engine does not answer.
        """
        image = await self._api.image(name)
        missing = image is None and pull_policy != "Never"
        if missing or pull_policy == "Always":
            progress.enter(Stage(Phase.PULLING, f"The engine is pulling the image {name!r}."))
            await self._pulled(name, timeout)
            image = await self._api.image(name)
        if image is None:
            raise container_status.image_missing(name, "the engine does not have it")
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
                f"The image is still being pulled after {timeout:g} seconds: {name!r}. The engine goes on "
                "pulling it: start the kernel again in a while."
            )
            raise LaunchFailed("Timeout", msg)
        try:
            pull.result()
        except EngineError as error:
            if not error.status:
                raise
            raise container_status.image_missing(name, str(error)) from error

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
        pull.exception()  # if no kernel waits, the next one that wants the image learns of it
