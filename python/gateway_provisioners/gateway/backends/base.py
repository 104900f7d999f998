"""What the gateway asks of the engine that its kernels run on, whichever it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from gateway_provisioners.errors import EngineError, GatewayProvisionersError
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.provisioners.base import RemoteProvisioner

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """The gateway's hold on it, from `attach` to `detach`."""

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
    ) -> None:
        """Begin to follow it; take over the kernels that run there.

        Raises:
            ConfigurationError: it cannot be reached, or does not let us in.
        """
        ...

    async def stop_leading(self) -> None:
        """Leave dead and idle kernels to others from now on."""
        ...

    async def detach(self) -> None:
        """Stop following; kernels go on."""
        ...


async def patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step that needs the engine, and wait for one that does not answer.

    Raises:
        EngineError: it answered, and refused.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await step()
        except EngineError as error:
            refused = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
            has_just_started = error.status == HTTPStatus.TOO_MANY_REQUESTS
            if refused and not has_just_started:
                raise
            _log.warning("Kernels cannot be managed yet: %s", error)
            await asyncio.sleep(pause)  # no event tells that the engine is back
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return


async def adopt(
    kernels: GatewayKernelManager,
    workload: str,
    record: KernelRecord,
    *,
    last_activity: str,
    started: str,
) -> None:
    """Have the gateway manage a kernel that another process started, with what that stored of it.

    Args:
        last_activity, started: in ISO 8601, or "".
    """
    await kernels.adopt(
        kernel_id=record.kernel_id,
        kernel_name=record.kernel_name,
        kernel_spec=KernelSpec(resource_dir="", **record.kernel_spec),
        env=dict(record.environment),
        last_activity=last_activity,
        started=started,
        restore=restore(workload, record),
    )


def restore(
    workload: str, record: KernelRecord
) -> Callable[[KernelProvisionerBase], Awaitable[None]]:
    """What gives a new provisioner of a kernel all that another one stored."""

    async def give(provisioner: KernelProvisionerBase) -> None:
        if not isinstance(provisioner, RemoteProvisioner):
            raise GatewayProvisionersError(
                f"the kernelspec of {workload} names another provisioner"
            )
        await provisioner.adopt(workload, record)

    return give


def check_response_server(server: ResponseServer) -> Check:
    """Whether kernels can report."""
    return Check(server.listening, server.response_address)
