"""The launch of a kernel, made from its settings, its kernelspec and the client's request."""

from __future__ import annotations

from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.message_limits import MessageLimits
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.launcher_environment import LAUNCH_KEY_VARIABLE
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.provisioners.kernel_environment import kernel_environment
from gateway_provisioners.provisioners.launch_traits import LaunchTraits
from gateway_provisioners.provisioners.workload import Launch


def new_launch(
    request: LaunchRequest,
    settings: LaunchTraits,
    kernel_spec: KernelSpec,
    *,
    kernel_id: str,
    kernel_name: str,
    attempt: int,
    launch_key: str,
    response_address: str,
    public_key: str,
    wait_timeout: float,
    progress: LaunchProgress,
) -> Launch:
    """Return the launch that a back end makes a workload from.

    Args:
        request: the client's, checked.
        settings: those of the kernel.
        response_address, public_key: those of the response server that expects the report.
        wait_timeout: that of the engine's services; it applies if the client does not choose a timeout.
    """
    environment = kernel_environment(
        kernel_spec,
        request,
        kernel_id=kernel_id,
        kernel_name=kernel_name,
        transport_encryption=settings.transport_encryption,
        response_address=response_address,
        public_key=public_key,
        port_range=settings.port_range,
        max_message_bytes=MessageLimits(parent=settings).from_kernel,
    )
    # A client can extend the timeout, but not shorten it: JupyterLab's server sends one with every
    # start, and does not mean to refuse slow images. After that it does not wait any longer.
    timeout = max(request.launch_timeout or 0, settings.launch_timeout)
    return Launch(
        kernel_id=kernel_id,
        kernel_name=kernel_name,
        attempt=attempt,
        timeout=timeout,
        wait_timeout=max(timeout, 0 if request.launch_timeout else wait_timeout),
        request=request,
        environment=environment,
        secret_environment={**request.environment, LAUNCH_KEY_VARIABLE: launch_key},
        progress=progress,
    )
