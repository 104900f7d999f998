"""A kernel manager that takes kernels from a gateway, without kernelspecs on this machine.

It runs the same program as the kernelspecs of `jupyter gateway-spec install`: for jupyter_client the kernel
is a local process, and nothing else differs.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import DottedObjectName, Instance, List, Type, Unicode, default

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig, add_options

_PROGRAM = "gateway_provisioners_client.kernel"
_NAMES_SHOWN = 20


class GatewayKernelClient(AsyncKernelClient):
    """Waits for a kernel as long as its start goes on: the gateway bounds that, and reports how it ended."""

    async def _async_wait_for_ready(self, timeout: float | None = None) -> None:  # noqa: ARG002
        # nbclient and papermill give up after 60 seconds, in which a node may not even have come up.
        await super()._async_wait_for_ready(timeout=None)

    wait_for_ready = _async_wait_for_ready


class GatewayKernelManager(AsyncKernelManager):
    """Starts a kernel of a gateway, and ends it.

    Give this class to nbclient's or nbconvert's `kernel_manager_class`. Starting raises a ClientError if the
    gateway cannot be reached, refuses the credential or has no such kernel. A start that fails later is the
    error of the first cell, with the gateway's reason.
    """

    client_class = DottedObjectName(f"{__name__}.GatewayKernelClient", config=True)
    client_factory = Type(GatewayKernelClient, AsyncKernelClient, config=True)
    kernel_name = Unicode("", help="Name at the gateway; the gateway's default kernel if empty.")
    gateway_options = List(
        Unicode(),
        config=True,
        help="How to reach the gateway, as options of `jupyter gateway-spec install`: "
        '["--url", "https://gateway.example.com"]. By default the variables JUPYTER_GATEWAY_URL, '
        "JUPYTER_GATEWAY_AUTH_TOKEN and others of Jupyter servers say it.",
    )
    gateway = Instance(GatewayConfig)

    @default("gateway")
    def _gateway_of_options(self) -> GatewayConfig:
        if not self.gateway_options:
            return GatewayConfig.from_jupyter_environment()
        parser = _Parser(prog="GatewayKernelManager.gateway_options", add_help=False)
        add_options(parser)
        return GatewayConfig.from_options(parser.parse_args(self.gateway_options))

    @property
    def ipykernel(self) -> bool:
        """Return False: clients pass ipykernel's own options to kernels that they take for one."""
        return False

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        # A restart has the kernelspec of the start.
        if self._kernel_spec is None:
            self._kernel_spec = await self._spec_of_gateway()
        return await super()._async_pre_start_kernel(**kw)

    async def _spec_of_gateway(self) -> KernelSpec:
        # Here, as papermill imports this module for its other engines too.
        from gateway_provisioners_client.gateway.api import GatewayApi

        async with GatewayApi(self.gateway) as api:
            known = await api.kernelspecs()
        name = self.kernel_name or known.default
        spec = known.specs.get(name)
        if spec is None:
            names = ", ".join(sorted(known.specs)[:_NAMES_SHOWN]) or "none"
            msg = f"The gateway has no kernel that is called {name!r}. Its kernels: {names}."
            raise ConfigurationError(msg)
        return KernelSpec(
            argv=[
                *(sys.executable, "-m", _PROGRAM, "{connection_file}", f"--kernel={name}"),
                # Notebooks that are executed are results: nothing but their cells' own output is in them.
                "--no-progress",
                *self.gateway.to_options(),
            ],
            display_name=spec.display_name,
            language=spec.language,
            interrupt_mode="message",
            metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}},
        )


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong with options, since no command line is."""

    def error(self, message: str) -> Any:
        raise ConfigurationError(f"{self.prog}: {message}.")
