"""The activity of kernels, which the gateway follows on a connection of its own."""

import pytest

from api.test_api_ends import gateway  # noqa: F401 - a fixture
from api.test_api_mailbox import begin, launched_kernels  # noqa: F401 - a fixture
from api.test_api_shares import (  # noqa: F401 - a fixture
    KERNELS,
    connected,
    messages_until,
    people,
    start,
)
from gateway_provisioners.aio import call_later
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.kernel_streams import meter_of
from timeouts import eventually

RUN = "print('begun', flush=True)\nwhile True: pass"
# Longer than a client needs to connect and to run its first cell.
LATE_SECONDS = 1.0


@pytest.fixture
def late(monkeypatch):
    """The gateway's subscription reaches a kernel later than those of its clients."""
    watch = GatewayKernelManager.start_watching_activity

    def watch_late(self, kernel_id):
        watch(self, kernel_id)
        socket = self.get_kernel(kernel_id)._activity_stream.socket
        socket.unsubscribe(b"")
        call_later(LATE_SECONDS, socket.subscribe, b"")

    monkeypatch.setattr(GatewayKernelManager, "start_watching_activity", watch_late)


@KERNELS
async def test_the_first_cell_of_a_fast_client_is_seen(gateway, kernel, late):  # noqa: F811
    kernel_id = await start(gateway, kernel)
    managed = gateway.app.kernel_manager.get_kernel(kernel_id)
    async with connected(gateway, "alice", kernel_id) as alice:
        request = await begin(alice, RUN)
        await messages_until(alice, lambda message: message["msg_type"] == "stream")

        async def is_seen():
            return managed.running.cell.get("msg_id") == request

        await eventually(is_seen)
        assert managed.execution_state == "busy"
        await gateway.client.interrupt(kernel_id)


@KERNELS
async def test_the_first_cell_after_a_restart_is_seen(gateway, kernel, late):  # noqa: F811
    kernel_id = await start(gateway, kernel)
    managed = gateway.app.kernel_manager.get_kernel(kernel_id)
    async with connected(gateway, "alice", kernel_id) as alice:
        await gateway.client.restart(kernel_id)
        request = await begin(alice, RUN)
        await messages_until(
            alice,
            lambda message: (
                message["msg_type"] == "stream"
                and message["parent_header"].get("msg_id") == request
            ),
        )

        async def is_seen():
            return managed.running.cell.get("msg_id") == request

        await eventually(is_seen)
        await gateway.client.interrupt(kernel_id)


async def test_streams_that_are_restored_report_to_the_new_connection(gateway):  # noqa: F811
    kernel_id = await start(gateway)
    kernels = gateway.app.kernel_manager
    async with connected(gateway, "alice", kernel_id) as alice:
        await alice.execute("1")

    async def is_kept():
        return kernel_id in kernels._kernel_buffers

    await eventually(is_kept)
    kept = kernels._kernel_buffers[kernel_id]["channels"]["shell"]
    async with connected(gateway, "alice", kernel_id) as alice:
        await alice.execute("1")
        [connection] = GatewayWebsocketConnection.of_kernel(kernels.get_kernel(kernel_id))
        assert connection.channels["shell"] is kept
        meter = meter_of(kept)
        assert meter.on_sent.__self__ is connection.client_input
        assert meter.give_up.__self__ is connection
