"""The outcome of a launch: the kernel's connection info, or the failure."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.handshake.response_server import Expectation
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.provisioners.workload import Workload

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LaunchTerms:
    """The conditions that a launch has to meet.

    Attributes:
        timeout: seconds for the whole launch.
        unschedulable_grace: seconds to wait for a node to appear.
        encryption_required: whether a kernel whose channels are not encrypted is a failure.
    """

    kernel_id: str
    image: str
    timeout: float
    unschedulable_grace: float
    encryption_required: bool


async def first_of_connection_or_failure(
    workload: Workload, expectation: Expectation, terms: LaunchTerms
) -> ConnectionInfo:
    """Wait for the connection info of the kernel in a workload.

    Raises:
        LaunchFailed: the engine or the launcher reports that it will not come, or it took too long.
    """
    connection = asyncio.create_task(_connection(workload, expectation, terms))
    failure = asyncio.create_task(
        workload.start_failure(unschedulable_grace=terms.unschedulable_grace)
    )
    try:
        done, _ = await asyncio.wait(
            {connection, failure}, timeout=terms.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if connection in done:
            return connection.result()
        if failure in done:
            found = failure.result()
        else:
            progress = f"It did not start within {terms.timeout:g} seconds. {workload.progress}"
            found = LaunchFailed("Timeout", progress, container_ran=True)
        if found.container_ran:
            found.log = await workload.log_tail()
        raise found
    finally:
        connection.cancel()
        failure.cancel()


async def _connection(
    workload: Workload, expectation: Expectation, terms: LaunchTerms
) -> ConnectionInfo:
    while True:
        arrival = await expectation.next_arrival()
        # Version 1 proves nothing about its sender: only the workload's own address may speak for it.
        if arrival.protocol == 1 and arrival.peer_ip != await workload.wait_address():
            _log.warning(
                "Kernel %s: connection info from %s, which is not its own address, is ignored.",
                terms.kernel_id,
                arrival.peer_ip,
            )
            continue
        connection = arrival.connection_info
        if terms.encryption_required and not connection.curve_publickey:
            msg = (
                "Encrypted channels are required (transport_encryption), and the launcher in "
                f"its image {terms.image!r} offers none. It needs ipykernel 7.3 or later."
            )
            raise LaunchFailed("Unencrypted", msg)
        if arrival.protocol > 1:
            return connection
        return dataclasses.replace(connection, ip=arrival.peer_ip)
