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


async def first_of_connection_or_failure(
    workload: Workload, expectation: Expectation, *, timeout: float, unschedulable_grace: float
) -> ConnectionInfo:
    """Wait for the connection info of the kernel in a workload.

    Args:
        timeout: seconds for the whole launch.
        unschedulable_grace: seconds to wait for a node to appear.

    Raises:
        LaunchFailed: the engine or the launcher reports that it will not come, or it took too long.
    """
    connection = asyncio.create_task(_connection(workload, expectation))
    failure = asyncio.create_task(workload.start_failure(unschedulable_grace=unschedulable_grace))
    try:
        done, _ = await asyncio.wait(
            {connection, failure}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if connection in done:
            return connection.result()
        if failure in done:
            found = failure.result()
        else:
            progress = f"It did not start within {timeout:g} seconds. {workload.progress}"
            found = LaunchFailed("Timeout", progress, container_ran=True)
        if found.container_ran:
            found.log = await workload.log_tail()
        raise found
    finally:
        connection.cancel()
        failure.cancel()


async def _connection(workload: Workload, expectation: Expectation) -> ConnectionInfo:
    while True:
        arrival = await expectation.next_arrival()
        if arrival.protocol > 1:
            return arrival.connection_info
        # Version 1 proves nothing about its sender: only the workload's own address may speak for it.
        if arrival.peer_ip == await workload.wait_address():
            return dataclasses.replace(arrival.connection_info, ip=arrival.peer_ip)
        _log.warning(
            "Kernel %s: connection info from %s, which is not its own address, is ignored.",
            expectation.kernel_id,
            arrival.peer_ip,
        )
