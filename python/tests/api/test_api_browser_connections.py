"""`@jupyterlab/services`, with which VS Code uses Jupyter servers: the gateway, and one in front of it."""

import asyncio
import contextlib
import socket
from functools import partial

import pytest

from api.jupyterlab_services import jupyterlab_services
from api.running import TOKEN, running_gateway
from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway
from timeouts import eventually, within_timeout

OPEN_COMM = """
from comm import create_comm
probe = create_comm(target_name="probe", data={}, buffers=[bytes(range(256))])
probe.on_msg(lambda message: probe.send(
    {"same": bytes(message["buffers"][0]) == b"\\xff" * message["content"]["data"]["size"]},
    buffers=message["buffers"],
))
"""
BUSY = "print('begun', flush=True)\nwhile True: pass"
LARGE = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": "x" * 12_000_000})
print("after it")
"""
MEBIBYTE = 2**20


@contextlib.asynccontextmanager
async def directly():
    """The gateway itself."""
    async with (
        running_gateway() as gateway,
        jupyterlab_services(f"{gateway.url}/", TOKEN) as services,
    ):
        yield gateway, gateway.client, services


@contextlib.asynccontextmanager
async def through_a_server():
    """A Jupyter server in gateway mode, with gateway-provisioners-client."""
    async with running_gateway() as gateway:
        server = jupyter_server(gateway.url, TOKEN, extended=True)
        url = await asyncio.to_thread(server.__enter__)
        try:
            async with Gateway(url, "") as client, jupyterlab_services(f"{url}/", "") as services:
                yield gateway, client, services
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.fixture(params=[directly, through_a_server])
async def connected(request):
    async with request.param() as parts:
        yield parts


async def test_the_kernels_of_the_gateway_are_listed(connected):
    _, other_client, services = connected
    assert "local" in (await services.call("kernelspecs"))["names"]
    kernel_id = await other_client.start("local")
    assert kernel_id in (await services.call("running"))["kernels"]


async def test_cells_input_interrupt_and_restart(connected):
    _, _, services = connected
    await services.call("start", name="local")
    assert (await services.call("execute", code="x = 6; print(x * 7)"))["text"] == "42\n"
    asked = await services.call("execute", code="print(input('? '))", answer="Ada")
    assert asked["text"] == "Ada\n"
    assert "print" in await services.call("complete", code="pri")
    assert await services.call("debug")

    busy = services.begin("execute", code=BUSY)
    await eventually(partial(has_begun, services))
    await services.call("interrupt")
    assert (await within_timeout(busy))["error"] == "KeyboardInterrupt"
    assert (await services.call("execute", code="x"))["data"] == [{"text/plain": 1}]
    await services.call("restart")
    assert (await services.call("execute", code="x"))["error"] == "NameError"
    await services.call("shutdown")


async def has_begun(services):
    return await services.call("output") == "begun\n"


async def test_binary_data_in_both_directions(connected):
    _, _, services = connected
    await services.call("start", name="local")
    await services.call("execute", code=OPEN_COMM)
    assert await services.call("received") == [{"type": "open", "buffers": [256]}]
    await services.call("sendBuffer", size=3 * MEBIBYTE)
    _, message = await services.call("received")
    assert message == {"type": "message", "data": {"same": True}, "buffers": [3 * MEBIBYTE]}
    assert (await services.call("execute", code="print(1)"))["text"] == "1\n"


async def test_an_output_of_12_megabytes(connected):
    _, _, services = connected
    await services.call("start", name="local")
    result = await services.call("execute", code=LARGE)
    assert result["data"] == [{"text/plain": 12_000_000}]
    assert result["text"] == "after it\n"


async def test_a_kernel_that_runs_is_attached_to(connected):
    gateway, other_client, services = connected
    kernel_id = await other_client.start("local")
    async with gateway.client.channels(kernel_id) as channels:
        await channels.execute("x = 42")
    await services.call("attach", id=kernel_id)
    assert (await services.call("execute", code="print(x)"))["text"] == "42\n"


async def test_a_lost_connection_is_opened_again(connected, request):
    gateway, _, services = connected
    way = request.node.callspec.params["connected"]
    await services.call("start", name="local")
    await services.call("execute", code="x = 42")
    for sock in gateway.sockets():
        sock.shutdown(socket.SHUT_RDWR)
    if way is directly:  # else it is between the two servers
        await eventually(partial(services.call, "losses"))
    assert (await services.call("execute", code="print(x)"))["text"] == "42\n"
