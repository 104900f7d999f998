"""Signals to a kernel, which its launcher passes on."""

from __future__ import annotations

import logging

from gateway_provisioners.errors import CommandFailed, GatewayProvisionersError
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal


async def pass_signal(
    endpoint: CommandEndpoint, signum: int, *, shutting_down: bool, log: logging.Logger
) -> None:
    """Pass a signal on to the process group of the kernel whose launcher listens at the endpoint.

    Args:
        shutting_down: whether the kernel is being shut down, which goes on without its launcher.

    Raises:
        CommandFailed: the launcher could not be reached; the log has the cause.
    """
    try:
        await send_signal(endpoint, signum)
    except GatewayProvisionersError as error:
        level = logging.INFO if shutting_down else logging.WARNING
        log.log(level, "Kernel %s did not take signal %s: %s", endpoint.kernel_id, signum, error)
        if not shutting_down:
            # The same for every cause: else a kernel's reports could use interrupts to find out what
            # answers at which port.
            raise CommandFailed(
                "The kernel did not take the signal. Try again, or restart it; the gateway's log has the "
                "cause."
            ) from None
