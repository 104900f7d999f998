"""Kernels of a gateway for programs that execute notebooks: nbclient, nbconvert, papermill."""

from gateway_provisioners_client.notebooks.kernel_manager import GatewayKernelManager

__all__ = ["GatewayKernelManager"]
