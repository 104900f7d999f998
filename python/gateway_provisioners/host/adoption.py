"""How the gateway becomes the manager of kernels that another process started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.host.kernel_manager import GatewayKernelManager

Restore = Callable[[KernelProvisionerBase], Awaitable[None]]


class Adopter(Protocol):
    """A provisioner that can take a kernel over."""

    async def adopt(self, name: str, record: dict[str, Any]) -> None:
        """Become the one of the kernel whose workload is `name`."""
        ...


def restoring(kind: type[Adopter], workload: str, record: Mapping[str, Any]) -> Restore:
    """What gives a new provisioner of this kind what the record holds."""

    async def restore(provisioner: KernelProvisionerBase) -> None:
        if not isinstance(provisioner, kind):
            msg = f"the kernelspec of {workload} names another provisioner"
            raise GatewayProvisionersError(msg)
        await provisioner.adopt(workload, dict(record))

    return restore


async def adopt(
    kernels: GatewayKernelManager,
    record: Mapping[str, Any],
    *,
    last_activity: str,
    started: str,
    restore: Restore,
) -> None:
    """Manage the kernel of a record; see `GatewayKernelManager.adopt`."""
    await kernels.adopt(
        kernel_id=record["kernel_id"],
        kernel_name=record["kernel_name"],
        kernel_spec=KernelSpec(resource_dir="", **record["kernel_spec"]),
        env=record["environment"],
        last_activity=last_activity,
        started=started,
        restore=restore,
    )
