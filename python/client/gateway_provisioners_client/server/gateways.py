"""The gateways that a server's kernels are at, in gateway mode and by kernelspecs."""

from __future__ import annotations

import asyncio
import importlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp

from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.server.states import (
    LocalKernel,
    kernel_of_argv,
    state_of,
)

if TYPE_CHECKING:
    from gateway_provisioners_client.gateway.api import GatewayApi
    from gateway_provisioners_client.server.managers import ResumedKernels

_MOST_GATEWAYS = 16
_API = "gateway_provisioners_client.gateway.api"


@dataclass
class KnownGateway:
    """A gateway.

    Attributes:
        api: for requests to it.
        specs: the local kernelspec of each of its kernels, by the kernel's name there; empty in gateway mode.
        is_of_mode: True if the server is in gateway mode, with this gateway.
    """

    api: GatewayApi
    specs: dict[str, str] = field(default_factory=dict)
    is_of_mode: bool = False


class Gateways:
    """Finds the gateway of a kernel, and all gateways of a server.

    Args:
        serverapp: the server.
        resumed: its kernels, if it is in gateway mode.
    """

    def __init__(self, serverapp: ServerApp, resumed: ResumedKernels | None) -> None:
        self._server = serverapp
        self._resumed = resumed
        self._apis: OrderedDict[tuple[str, ...], GatewayApi] = OrderedDict()

    async def gateway_of(self, kernel_id: str) -> tuple[GatewayApi, str] | None:
        """Return the gateway of a kernel and the kernel's id there; None for one that is not at a gateway."""
        kernels = self._server.kernel_manager
        if kernel_id not in kernels:
            return None
        if self._resumed is not None:
            return self._resumed.gateway, kernel_id
        known = self.spec_of(kernel_id)
        state = await self.state_of(kernel_id) if known is not None else None
        if known is None or state is None or not state.kernel_id:
            return None
        return await self._api(known[1]), state.kernel_id

    def spec_of(self, kernel_id: str) -> tuple[str, GatewayConfig] | None:
        """Return the name at the gateway, and the gateway, of a local kernel that runs at one."""
        kernels = self._server.kernel_manager
        if self._resumed is not None or kernel_id not in kernels:
            return None
        spec = getattr(kernels.get_kernel(kernel_id), "kernel_spec", None)
        return kernel_of_argv(getattr(spec, "argv", None) or [])

    async def state_of(self, kernel_id: str) -> LocalKernel | None:
        """Return what the program of a local kernel says; None if it is an ordinary kernel, or has ended."""
        kernels = self._server.kernel_manager
        if self._resumed is not None or kernel_id not in kernels:
            return None
        connection_file = str(getattr(kernels.get_kernel(kernel_id), "connection_file", "") or "")
        return await asyncio.to_thread(state_of, connection_file) if connection_file else None

    async def all(self) -> list[KnownGateway]:
        """Return the gateways that kernels can be started at."""
        if self._resumed is not None:
            return [KnownGateway(self._resumed.gateway, is_of_mode=True)]
        found: dict[str, KnownGateway] = {}
        for name, spec in (await self._kernelspecs()).items():
            known = kernel_of_argv(spec.get("spec", {}).get("argv", []))
            if known is None:
                continue
            kernel_name, config = known
            if config.url not in found:
                if len(found) == _MOST_GATEWAYS:
                    continue
                found[config.url] = KnownGateway(await self._api(config))
            found[config.url].specs.setdefault(kernel_name, name)
        return list(found.values())

    async def local_ids(self) -> dict[tuple[str, str], str]:
        """Return the ids of this server's kernels, by their gateway's URL and their id there."""
        kernels = self._server.kernel_manager
        if self._resumed is not None:
            url = self._resumed.gateway.config.url
            return {(url, each): each for each in kernels.list_kernel_ids()}
        ids = {}
        for kernel_id in kernels.list_kernel_ids():
            found = await self.gateway_of(kernel_id)
            if found is not None:
                ids[found[0].config.url, found[1]] = kernel_id
        return ids

    async def _kernelspecs(self) -> dict[str, Any]:
        specs: dict[str, Any] = await ensure_async(self._server.kernel_spec_manager.get_all_specs())
        return specs

    async def _api(self, config: GatewayConfig) -> GatewayApi:
        key = tuple(config.to_options())
        if key not in self._apis:
            module = await asyncio.to_thread(importlib.import_module, _API)
            self._apis.setdefault(key, module.GatewayApi(config))
            if len(self._apis) > _MOST_GATEWAYS:
                _, oldest = self._apis.popitem(last=False)
                await oldest.close()
        self._apis.move_to_end(key)
        return self._apis[key]
