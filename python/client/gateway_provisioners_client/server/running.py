"""The kernels that run at a server's gateways, whichever client started them."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from jupyter_core.utils import ensure_async
from tornado import web

from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.gateway.words import in_one_line
from gateway_provisioners_client.server.gateways import KnownGateway
from gateway_provisioners_client.server.services import Services

# The kernel program reads it: attach to this kernel, and start none.
_ATTACH = "GATEWAY_KERNEL_ATTACH"
_MOST_KERNELS = 1000


class RunningKernels:
    """Lists, attaches and ends kernels by their ids at the gateway.

    Its methods raise ClientError with the gateway's words, and HTTPError 404 for a kernel that is not there.
    """

    def __init__(self, services: Services) -> None:
        self._kernels = services.server.kernel_manager
        self._gateways = services.gateways

    async def all(self) -> list[dict[str, Any]]:
        """Return the kernels of all gateways; of those that answer, if there are several."""
        gateways = await self._gateways.all()
        local_ids = await self._gateways.local_ids()
        answers = await asyncio.gather(
            *(each.api.kernels() for each in gateways), return_exceptions=True
        )
        listed: list[dict[str, Any]] = []
        failed: list[ClientError] = []
        for gateway, models in zip(gateways, answers, strict=True):
            if isinstance(models, ClientError):
                failed.append(models)
            elif isinstance(models, BaseException):
                raise models
            else:
                listed += [_entry(gateway, model, local_ids) for model in models]
        if failed and len(failed) == len(gateways):
            raise failed[0]
        return listed[:_MOST_KERNELS]

    async def attach(self, remote_id: str, path: str | None) -> str:
        """Make a kernel one of this server's; return its id here."""
        gateway, model = await self._find(remote_id)
        local_id = (await self._gateways.local_ids()).get((gateway.api.config.url, remote_id))
        if local_id is not None:
            return local_id
        if gateway.is_of_mode:
            started = await self._kernels.start_kernel(kernel_id=remote_id, path=path)
        else:
            spec = gateway.specs.get(str(model.get("name")))
            if spec is None:
                raise web.HTTPError(
                    409,
                    "No kernelspec of this machine is for that kernel of the gateway: install it with "
                    "`jupyter gateway-spec install`.",
                )
            environment = {**os.environ, _ATTACH: remote_id}
            started = await ensure_async(
                self._kernels.start_kernel(kernel_name=spec, path=path, env=environment)
            )
        return str(started)

    async def shut_down(self, remote_id: str) -> None:
        """End a kernel."""
        gateway, _ = await self._find(remote_id)
        local_id = (await self._gateways.local_ids()).get((gateway.api.config.url, remote_id))
        if local_id is None:
            await gateway.api.delete(remote_id)
        else:
            await ensure_async(self._kernels.shutdown_kernel(local_id))

    async def _find(self, remote_id: str) -> tuple[KnownGateway, dict[str, Any]]:
        failed: ClientError | None = None
        for gateway in await self._gateways.all():
            try:
                model = await gateway.api.kernel(remote_id)
            except ClientError as error:
                failed = error
                continue
            if model is not None:
                return gateway, model
        if failed is not None:
            raise failed
        raise web.HTTPError(404, "The kernel does not run at the gateway any longer.")


def _entry(
    gateway: KnownGateway, model: dict[str, Any], local_ids: dict[tuple[str, str], str]
) -> dict[str, Any]:
    config = gateway.api.config
    name = in_one_line(model.get("name"), 128)
    local_id = local_ids.get((config.url, model["id"]))
    connections = model.get("connections")
    return {
        "gateway": config.name,
        "remote_id": model["id"],
        "name": name,
        "state": in_one_line(model.get("execution_state"), 64),
        "last_activity": in_one_line(model.get("last_activity"), 64),
        "connections": connections if isinstance(connections, int) else 0,
        "reason": in_one_line(model.get("reason"), 1000),
        "local_id": local_id,
        "attachable": local_id is not None or gateway.is_of_mode or name in gateway.specs,
    }
