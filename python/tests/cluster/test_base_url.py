"""A release whose gateway is below a path, as behind a proxy with a host name for several tools."""

import contextlib

import pytest
import pytest_asyncio

from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway, Refused
from message_words import unwrapped


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chart(new_chart, namespace):
    chart = new_chart(namespace)
    await chart.install({"gateway": {"baseUrl": "/team-a"}})  # waits until it is ready
    yield chart
    await chart.uninstall()


@contextlib.asynccontextmanager
async def below(gateway, path):
    async with Gateway(gateway.url + path, gateway.token) as client:
        yield client


async def test_helm_test_passes_below_a_path(chart):
    assert await chart.test() == "Succeeded"


async def test_kernels_are_below_the_path_only(gateway):
    async with below(gateway, "/team-a") as client:
        assert "python3" in (await client.request("GET", "/api/kernelspecs"))["kernelspecs"]
        async with client.kernel() as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"
    with pytest.raises(Refused) as refusal:
        await gateway.request("GET", "/api/kernelspecs")
    assert refusal.value.status == 404
    assert "begin with /team-a." in unwrapped(refusal.value.message)


async def test_jupyterlabs_server_uses_a_gateway_below_a_path(gateway):
    with jupyter_server(f"{gateway.url}/team-a", gateway.token) as url:
        async with Gateway(url, "") as lab, lab.kernel() as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"


async def test_a_path_that_the_chart_cannot_see_leaves_the_gateway_ready(chart):
    code = "c.GatewayApp.base_url = '/team-b'"
    await chart.upgrade({"gateway": {"extraConfig": {"base": code}}})
    async with chart.gateway() as gateway, below(gateway, "/team-b") as client:
        assert await client.kernels() == {}
