"""Clients that execute notebooks, such as nbclient, in processes of their own."""

import asyncio

import pytest

from api.provisioners import FailingAs
from api.running import running_gateway
from gateway_provisioners.errors import LaunchFailed
from notebook_client import with_gateway_kernel
from timeouts import within_timeout

# The kernel is busy until the client has asked whether it lives.
BUSY = """
import pathlib, time
while not pathlib.Path({!r}).exists(): time.sleep(0.1)
"""
WAIT_FOR_KERNEL = """
import asyncio, pathlib, sys
import ci.notebooks, gateway_kernel

async def wait_for_ready(manager_class, kernel_id, asked):
    is_alive = manager_class._async_is_alive

    async def report(manager):
        pathlib.Path(asked).touch()
        return await is_alive(manager)

    manager_class._async_is_alive = report
    manager = manager_class()
    await manager.start_kernel(kernel_id=kernel_id)
    client = manager.client()
    await client.start_channels()
    try:
        await client.wait_for_ready()
    finally:
        client.stop_channels()

asyncio.run(wait_for_ready(eval(sys.argv[1]), *sys.argv[2:]))
"""


EXECUTE_IN_VAIN = """
import nbformat
from gateway_kernel import GatewayKernel
from nbclient import NotebookClient

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
client = NotebookClient(notebook, kernel_name="failing_as", kernel_manager_class=GatewayKernel)
try:
    client.execute()
except Exception as error:
    print(error)
"""


async def test_nbclient_raises_the_cause_of_a_failed_start(add_provisioner, tmp_path):
    add_provisioner("failing_as", FailingAs)
    FailingAs.attempts = 0
    FailingAs.error = LaunchFailed("Evicted", "The node is full.")
    async with running_gateway() as gateway:
        url, token = gateway.client.url, gateway.client.token
        output = await with_gateway_kernel(tmp_path, EXECUTE_IN_VAIN, url=url, token=token)
    assert (
        "HTTP 503: Service Unavailable (Error from Gateway: [The node is full.] Evicted." in output
    )
    assert FailingAs.attempts == 1


@pytest.mark.parametrize(
    "manager_class", ["gateway_kernel.GatewayKernel", "ci.notebooks.KernelManager"]
)
async def test_a_notebook_client_waits_for_a_busy_kernel(gateway, tmp_path, manager_class):
    """After one second without an answer, jupyter_client asks whether the kernel lives."""
    asked = str(tmp_path / "asked")
    async with gateway.client.kernel() as kernel:
        busy = asyncio.create_task(kernel.execute(BUSY.format(asked)))
        await within_timeout(
            with_gateway_kernel(
                *(tmp_path, WAIT_FOR_KERNEL, manager_class, kernel.kernel_id, asked),
                url=gateway.client.url,
                token=gateway.client.token,
            )
        )
        assert (await busy).status == "ok"
