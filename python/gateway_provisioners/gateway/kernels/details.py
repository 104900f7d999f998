"""The model of one kernel, for a client that looks at it alone: more than lists of kernels have."""

from __future__ import annotations

from typing import Any

from jupyter_server._tz import isoformat

from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager


async def detailed_model(kernels: GatewayKernelManager, kernel_id: str) -> dict[str, Any]:
    """Return the kernel's model with its usage, limits, node and image.

    Raises:
        HTTPError: 404 if the kernel does not exist, or was ended while its launcher was asked.
    """
    kernel = kernels.get_kernel(kernel_id)
    usage = await kernel.usage()
    details = kernel.details
    return {
        **kernels.kernel_model(kernel_id),
        "started": isoformat(kernel.started),
        "node": details.node or None,
        "image": details.image or None,
        "limits": dict(details.limits),
        "usage": usage and usage.to_json(),
    }
