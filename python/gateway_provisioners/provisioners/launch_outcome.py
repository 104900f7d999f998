"""The outcome of a launch: the kernel's report, or the failure."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from gateway_provisioners.aio import within
from gateway_provisioners.errors import CommandFailed, LaunchFailed
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.response_server import Arrival, Expectation
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.provisioners.workload import Workload

_REPORTED = Stage(Phase.REPORTED, "The kernel's launcher has reported to the gateway.")

_log = logging.getLogger(__name__)


async def first_of_report_or_failure(
    workload: Workload,
    expectation: Expectation,
    progress: LaunchProgress,
    *,
    began: float,
    timeout: float,
    wait_timeout: float,
    unschedulable_grace: float,
) -> Arrival:
    """Wait for the report of the kernel in a workload.

    Args:
        progress: takes how far the workload has come.
        began: the event loop's time at the beginning of the launch.
        timeout: seconds from now; they begin anew when a condition that can pass, and that holds at their
            end, has passed.
        wait_timeout: seconds for the whole launch; at least `timeout`.
        unschedulable_grace: seconds to wait for a sign that there will be a node.

    Returns:
        The report, whose connection info has the engine's address; or, if it `may_precede_address`, that of
        its sender, which `confirm_address` compares with the engine's.

    Raises:
        LaunchFailed: the engine or the launcher reports that it will not come, or it took too long.
    """
    report = asyncio.create_task(_report(workload, expectation))
    failure = asyncio.create_task(workload.start_failure(unschedulable_grace=unschedulable_grace))
    late = asyncio.create_task(_too_late(workload, began, timeout, wait_timeout))
    following = asyncio.create_task(_follow(workload, progress))
    try:
        done, _ = await asyncio.wait({report, failure, late}, return_when=asyncio.FIRST_COMPLETED)
        if report in done:
            arrival = report.result()
            progress.enter(_REPORTED)
            return arrival
        found = failure.result() if failure in done else _timed_out(workload, late.result())
        if found.container_ran:
            found.log = await workload.log_tail()
        raise found
    finally:
        report.cancel()
        failure.cancel()
        late.cancel()
        following.cancel()


async def _follow(workload: Workload, progress: LaunchProgress) -> None:
    while True:
        stage = workload.progress
        progress.enter(stage)
        await workload.wait_progress(stage)


async def _too_late(workload: Workload, began: float, timeout: float, wait_timeout: float) -> float:
    """Return when a launch has taken too long, and how many seconds that was."""
    loop = asyncio.get_running_loop()
    while True:
        seconds = min(wait_timeout, loop.time() - began + timeout)
        await asyncio.sleep(began + seconds - loop.time())
        if not _waits_for_condition(workload):
            return seconds
        try:
            left = began + wait_timeout - loop.time()
            await within(max(0, left), workload.wait_unobstructed())
        except asyncio.TimeoutError:
            return wait_timeout


def _waits_for_condition(workload: Workload) -> bool:
    return workload.condition is not None and workload.condition.can_pass


def _timed_out(workload: Workload, seconds: float) -> LaunchFailed:
    condition = workload.condition
    return LaunchFailed(
        condition.reason if condition else "Timeout",
        f"{workload.progress} The kernel did not start within {round(seconds, 2):g} seconds.",
        container_ran=condition is None,
        can_pass=_waits_for_condition(workload),
    )


def may_precede_address(arrival: Arrival) -> bool:
    """Return whether a report may be used before the engine has reported the workload's address.

    An engine may report it a second later: a kubelet looks at its containers that often. Until then, the
    gateway connects to a report's sender only, and only encrypted: whatever else listens at that address,
    because it is shared, has not the key.
    """
    info = arrival.connection_info
    return arrival.protocol > 1 and info.ip == arrival.peer_ip and info.curve_publickey is not None


async def confirm_address(workload: Workload, kernel_id: str, address: str) -> None:
    """End a kernel whose launcher reported from an address that is not its own, once that is known."""
    known = await workload.wait_address(address)
    if known not in (address, ""):
        _log.warning(
            "Kernel %s reported from the address %s, and its own is %s: it is ended.",
            kernel_id,
            address,
            known,
        )
        workload.remove_soon()


async def _report(workload: Workload, expectation: Expectation) -> Arrival:
    """Return the first report that is the workload's own, at the workload's own address.

    A launcher is the kernel's user code as far as the gateway can know, and might name any address: the
    gateway would connect there on its behalf.
    """
    address_known = asyncio.create_task(_time_of_address(workload))
    try:
        while True:
            arrival = await expectation.next_arrival()
            if may_precede_address(arrival):
                return arrival
            known_since = await address_known
            is_authenticated = arrival.protocol > 1
            claimed = arrival.connection_info.ip if is_authenticated else arrival.peer_ip
            own = await workload.wait_address(claimed)
            address = own or arrival.peer_ip
            located = dataclasses.replace(
                arrival, connection_info=dataclasses.replace(arrival.connection_info, ip=address)
            )
            if is_authenticated:
                if claimed != address:
                    _log.warning(
                        "Kernel %s: its launcher reported the address %s, which is not the kernel's; the "
                        "gateway uses %s.",
                        expectation.kernel_id,
                        claimed,
                        address,
                    )
                return located
            # Version 1 proves nothing about its sender: only the workload's own address may speak for it.
            if arrival.peer_ip != own:
                _ignore(arrival, expectation, "it came from an address that is not the kernel's")
            elif arrival.time < known_since and not await _launcher_answers(located, expectation):
                # The address may have been that of a workload that has ended since.
                _ignore(arrival, expectation, "no launcher answers at its port")
            else:
                return located
    finally:
        address_known.cancel()


async def _time_of_address(workload: Workload) -> float:
    await workload.wait_address()
    return asyncio.get_running_loop().time()


async def _launcher_answers(arrival: Arrival, expectation: Expectation) -> bool:
    info = arrival.connection_info
    endpoint = CommandEndpoint(info.ip, info.comm_port, expectation.kernel_id, launch_key=None)
    try:
        await send_signal(endpoint, 0)
    except CommandFailed:
        return False
    return True


def _ignore(arrival: Arrival, expectation: Expectation, reason: str) -> None:
    _log.warning(
        "Kernel %s: a report of protocol version 1 from %s is ignored: %s.",
        expectation.kernel_id,
        arrival.peer_ip,
        reason,
    )
