"""Kernels without any connection, which are shut down after the time that their client has chosen."""

from datetime import timedelta

import pytest

from api.running import running_gateway, until_followed
from api.test_api_culling import RecordingPeers, message_about
from ci.gateway_client import Refused
from timeouts import eventually

WHY = "No client was connected to the kernel for 60 seconds (KERNEL_ORPHAN_TIMEOUT). It was shut down."


async def start(gateway, seconds=60):
    return await gateway.client.start("local", KERNEL_ORPHAN_TIMEOUT=str(seconds))


async def look(gateway, kernel_id, *, later):
    """Look at a kernel so many seconds later; return whether it is left."""
    kernels = gateway.app.kernel_manager
    kernel = kernels.get_kernel(kernel_id)
    kernel.last_activity -= timedelta(seconds=later)
    if kernel in kernels.orphans._alone:
        kernels.orphans._alone[kernel] -= timedelta(seconds=later)
    await kernels.orphans.look(kernel_id)
    return kernel_id in kernels


async def until_alone(gateway, kernel_id):
    kernels = gateway.app.kernel_manager
    kernel = kernels.get_kernel(kernel_id)

    async def is_alone():
        return kernel in kernels.orphans._alone

    await eventually(is_alone)


async def test_a_kernel_without_a_client_is_shut_down_in_time(gateway):
    kernel_id = await start(gateway)
    assert await look(gateway, kernel_id, later=50)
    assert not await look(gateway, kernel_id, later=11)
    assert await message_about(gateway, kernel_id) == f"{WHY} Kernel does not exist: {kernel_id}"
    metrics = await gateway.probes.request("GET", "/metrics")
    assert 'kernels_culled_total{cause="orphan",kernel="local"} 1.0' in metrics


async def test_a_connection_keeps_a_kernel(gateway):
    kernel_id = await start(gateway)
    async with gateway.client.channels(kernel_id) as channels:
        await channels.execute("1")
        assert await look(gateway, kernel_id, later=1000)
    await until_alone(gateway, kernel_id)
    assert await look(gateway, kernel_id, later=50)
    assert not await look(gateway, kernel_id, later=11)


async def test_a_client_at_another_gateway_keeps_a_kernel(gateway):
    kernels = gateway.app.kernel_manager
    kernel_id = await start(gateway)
    kernels.peers = RecordingPeers(connected=1)
    kernels.connections_changed(kernel_id)
    assert await look(gateway, kernel_id, later=1000)
    kernels.peers = RecordingPeers()
    kernels.connections_changed(kernel_id)
    assert not await look(gateway, kernel_id, later=61)


async def test_a_busy_kernel_is_kept(gateway):
    kernel_id = await start(gateway)
    kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
    async with gateway.client.channels(kernel_id) as channels:
        await until_followed(kernel, channels)
        content = {"code": "import time; time.sleep(1000)", "silent": False}
        await channels.send("shell", "execute_request", content)
        await eventually_state(kernel, "busy")
    await until_alone(gateway, kernel_id)
    assert await look(gateway, kernel_id, later=1000)
    await gateway.client.interrupt(kernel_id)
    await eventually_state(kernel, "idle")
    assert await look(gateway, kernel_id, later=50)
    assert not await look(gateway, kernel_id, later=11)


async def eventually_state(kernel, state):
    async def is_so():
        return kernel.execution_state == state

    await eventually(is_so)


async def test_the_leader_among_gateways_shuts_orphans_down(gateway):
    kernels = gateway.app.kernel_manager
    kernel_id = await start(gateway)
    kernels.peers = RecordingPeers(is_leader=False)
    assert await look(gateway, kernel_id, later=1000)
    # For its former user, when the leader has done so.
    assert f"{kernels.orphans.why_due(kernel_id)} It was shut down." == WHY


async def test_kernels_of_clients_that_do_not_ask_for_it_stay(gateway):
    for each in (await gateway.client.start("local"), await start(gateway, 0)):
        assert await look(gateway, each, later=10**8)


async def test_an_orphan_timeout_survives_a_restart(gateway):
    kernel_id = await start(gateway)
    await gateway.client.restart(kernel_id)
    assert not await look(gateway, kernel_id, later=61)


@pytest.mark.parametrize("value", ["9", "-1", "1e3", "10.5", "soon", "99999999", "9" * 5000])
async def test_a_malformed_orphan_timeout_is_refused(gateway, value):
    with pytest.raises(Refused) as refused:
        await start(gateway, value)
    assert refused.value.status == 400
    assert "from 10 to 31622400, or 0 for never" in refused.value.message
    assert await gateway.client.kernels() == {}


async def test_the_timer_shuts_a_kernel_down():
    async with running_gateway() as gateway:
        kernels = gateway.app.kernel_manager
        kernel_id = await start(gateway, 10)

        async def is_gone():
            return kernel_id not in kernels

        await eventually(is_gone)
