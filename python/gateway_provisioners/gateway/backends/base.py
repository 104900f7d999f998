"""The contract between the gateway and the back ends of its engines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from gateway_provisioners.aio import Backoff, retry
from gateway_provisioners.errors import EngineError, GatewayProvisionersError
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.engine_services import EngineServices

_BACKOFF = Backoff(0.5, 5)


class Backend(Protocol):
    """The gateway's side of one engine; the app calls each method once, in this order."""

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
        addresses: KernelAddresses,
    ) -> None:
        """Begin to follow the engine, take over the kernels that run there, and report their addresses.

        Raises:
            ConfigurationError: the engine cannot be reached, or refuses.
        """
        ...

    async def stop_leading(self) -> None:
        """Leave dead and idle kernels to other gateways from now on."""
        ...

    async def detach(self) -> None:
        """Stop following the engine; kernels go on."""
        ...


async def retry_while_unavailable(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step until the engine answers.

    Raises:
        EngineError: it answered, and refused.
    """

    def is_refusal(error: EngineError) -> bool:
        is_client_error = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        # An engine that has just started answers 429.
        return is_client_error and error.status != HTTPStatus.TOO_MANY_REQUESTS

    await retry("manage kernels yet", step, _BACKOFF, is_final=is_refusal)


async def adopt(
    kernels: GatewayKernelManager,
    workload: str,
    record: KernelRecord,
    *,
    last_activity: str,
    started: str,
    ownership: Ownership | None = None,
) -> None:
    """Have the gateway manage a kernel that another process started, from the record that it stored.

    Args:
        last_activity, started: in ISO 8601, or "".
        ownership: whose kernel it is, if that was stored apart from the record.
    """
    await kernels.adopt(
        kernel_id=record.kernel_id,
        kernel_name=record.kernel_name,
        kernel_spec=KernelSpec(resource_dir="", **record.kernel_spec),
        env=dict(record.environment),
        last_activity=last_activity,
        started=started,
        ownership=record.ownership if ownership is None else ownership,
        restore=restore(workload, record),
    )


def restore(
    workload: str, record: KernelRecord
) -> Callable[[KernelProvisionerBase], Awaitable[None]]:
    """Return a function that gives a kernel's new provisioner the record of another one."""

    async def give(provisioner: KernelProvisionerBase) -> None:
        if not isinstance(provisioner, RemoteProvisioner):
            raise GatewayProvisionersError(
                f"the kernelspec of {workload} names another provisioner"
            )
        await provisioner.adopt(workload, record)

    return give


def check_response_server(services: EngineServices) -> Check:
    """Check that kernels can report to the gateway."""
    server = services.response_server
    return Check(server.listening, server.response_address or "an address for each launch")
